-- Reads failed jobs, the newest first.
--
-- KEYS
--   jobs      hash  stored id -> record
--   attempts  hash  stored id -> `<retries>,<losses>,<direct-only>`
--   failed    zset  stored id -> instant
--   errors    hash  stored id -> reason
-- ARGV
--   1 clock offset, ms   2 age after which a failed job is forgotten, ms
--   3 how many to pass over   4 most jobs   5 most bytes; one larger job comes alone
-- Reply
--   stored id, record, attempts or nil, reason, instant for each
local NAMES = {'jobs', 'attempts', 'failed', 'errors'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local most_bytes = tonumber(ARGV[5])

local page = call('ZREVRANGEBYSCORE', q.failed, '+inf', now - tonumber(ARGV[2]), 'WITHSCORES',
  'LIMIT', tonumber(ARGV[3]), tonumber(ARGV[4]))
local answer, bytes = {}, 0
for i = 1, #page, 2 do
  local id = page[i]
  local record, reason = call('HGET', q.jobs, id) or '', call('HGET', q.errors, id) or ''
  bytes = bytes + #record + #reason
  if i > 1 and bytes > most_bytes then
    break
  end
  answer[#answer + 1] = id
  answer[#answer + 1] = record
  answer[#answer + 1] = call('HGET', q.attempts, id)
  answer[#answer + 1] = reason
  answer[#answer + 1] = string.format('%.0f', math.floor(tonumber(page[i + 1])))
end
return answer
