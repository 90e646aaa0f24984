-- Reads failed jobs, the newest first. With a filter it looks at a bounded number of them, and
-- tells where to go on.
--
-- KEYS
--   jobs      hash  stored id -> record
--   attempts  hash  stored id -> `<retries>,<losses>,<direct-only>`
--   failed    zset  stored id -> instant
--   errors    hash  stored id -> reason
--   guard     hash  the bounds in force, see retention.lua
-- ARGV
--   1 clock offset, ms   2 to 4 bounds by default: number, age in ms, bytes
--   5 how many to pass over   6 most jobs   7 most bytes to read; one larger job comes alone
--   8 most jobs to look at   9 task, 10 beginning of the reason, 11 earliest instant in ms of
--   those that match; '' for any
--   12 to 14 instant, order and stored id of the place to begin behind, if any
-- Reply
--   {jobs, how many are still to be passed over, instant, order and stored id of the last place
--    that was looked at}; without a place when nothing is left
--     jobs: stored id, record, attempts or nil, reason, instant, order in its ms for each
local NAMES = {'jobs', 'attempts', 'failed', 'errors', 'guard'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local bounds = bounds_in_force(q, {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])})
local skip, most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local task, beginning = ARGV[9], ARGV[10]
local filtered = task ~= '' or beginning ~= ''
local oldest = math.max(now - bounds[2], tonumber(ARGV[11]) or 0)

local newest, behind = '+inf', 0
if ARGV[12] then
  newest = score_of(ARGV[12], ARGV[13])
  local same = call('ZREVRANGEBYSCORE', q.failed, newest, newest)
  while same[behind + 1] and not before(same[behind + 1], ARGV[14]) do
    behind = behind + 1
  end
end
if not filtered then
  -- They need not be looked at.
  behind, skip = behind + skip, 0
end
local look = filtered and tonumber(ARGV[8]) or most
local page = call('ZREVRANGEBYSCORE', q.failed, newest, oldest, 'WITHSCORES', 'LIMIT', behind, look)
local answer, found, bytes, looked = {}, 0, 0, 0
for i = 1, #page, 2 do
  local id = page[i]
  local reason = call('HGET', q.errors, id) or ''
  local matches = beginning == '' or string.sub(reason, 1, #beginning) == beginning
  local record = matches and call('HGET', q.jobs, id) or ''
  bytes = bytes + #record + #reason
  if found == most or (i > 1 and bytes > most_bytes) then
    break
  end
  looked = looked + 1
  if matches and (task == '' or task_of(record) == task) then
    if skip > 0 then
      skip = skip - 1
    else
      found = found + 1
      tell(q, answer, id, tonumber(page[i + 1]), record, reason)
    end
  end
end
if looked < look and 2 * looked == #page then
  return {answer, skip}
end
local ms, order = instant_of(tonumber(page[2 * looked]))
return {answer, skip, ms, order, page[2 * looked - 1]}
