-- Reads the failed jobs that have some ids.
--
-- KEYS
--   jobs      hash  stored id -> record
--   attempts  hash  stored id -> `<retries>,<losses>,<direct-only>`
--   failed    zset  stored id -> instant
--   errors    hash  stored id -> reason
--   guard     hash  the bounds in force, see retention.lua
-- ARGV
--   1 clock offset, ms   2 to 4 bounds by default: number, age in ms, bytes
--   then the stored ids, each once
-- Reply
--   stored id, record, attempts or nil, reason, instant, order in its ms for each that is there
local NAMES = {'jobs', 'attempts', 'failed', 'errors', 'guard'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local bounds = bounds_in_force(q, {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])})
local answer = {}
for i = 5, #ARGV do
  local id = ARGV[i]
  local score = tonumber(call('ZSCORE', q.failed, id))
  if score and score >= now - bounds[2] then
    tell(q, answer, id, score, call('HGET', q.jobs, id) or '', call('HGET', q.errors, id) or '')
  end
end
return answer
