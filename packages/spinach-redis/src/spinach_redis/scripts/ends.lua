-- Tells how jobs ended, and notes that someone waits for the first of them.
--
-- KEYS
--   jobs           hash  stored id -> record
--   failed         zset  stored id -> instant
--   results, results-until, awaited   see results.lua
--   result:<id>    list  of the first id, where the caller is going to wait
-- ARGV
--   1 clock offset, ms   2 most bytes of ends in the reply   3 ms that the caller is going to wait
--   for the first id; 0: it is not   then the stored ids
-- Reply
--   for each id its end as results.lua has it; or 1: it has not ended, 0: nothing is known of it.
--   Fewer than there are ids where the ends are too many bytes: call again for the others
local NAMES = {'jobs', 'failed', 'results', 'results-until', 'awaited'}
-- Looked at together, so that large ends do not fill the memory of the server.
local AT_ONCE = 20
local q = named(NAMES, 0)
local list = KEYS[#NAMES + 1]
local now = now_ms(ARGV[1])
local most_bytes, wait_ms = tonumber(ARGV[2]), tonumber(ARGV[3])

local answers, bytes, full = {}, 0, false

-- Looks at some ids, until the reply is full.
local function look_at_some(ids)
  local ends = fields_of(q.results, ids)
  for i = 1, #ids do
    local id, found = ids[i], ends[i]
    if found and tonumber(call('ZSCORE', q['results-until'], id) or 0) <= now then
      found = nil
    end
    if found and bytes > 0 and bytes + #found > most_bytes then
      full = true
      return
    elseif found then
      bytes = bytes + #found
      answers[#answers + 1] = found
    elseif call('HEXISTS', q.jobs, id) == 1 and not call('ZSCORE', q.failed, id) then
      answers[#answers + 1] = 1
    else
      answers[#answers + 1] = 0
    end
  end
end

for first = 4, #ARGV, AT_ONCE do
  if not full then
    look_at_some({unpack(ARGV, first, math.min(#ARGV, first + AT_ONCE - 1))})
  end
end
if wait_ms > 0 and answers[1] == 1 then
  trim_results(q, now)
  -- What lies there is of an end that counts no more. This admits the write that follows it, too,
  -- on a server that is full.
  call('DEL', list)
  -- Others may wait for it longer.
  call('ZADD', q.awaited, 'GT', string.format('%.0f', now + wait_ms), ARGV[4])
end
return answers
