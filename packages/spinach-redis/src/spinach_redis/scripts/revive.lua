-- Takes jobs out of the failed store: to run them again, or to forget them.
--
-- KEYS
--   jobs          hash    stored id -> record
--   ready         list    stored ids
--   attempts      hash    stored id -> `<retries>,<losses>,<direct-only>`
--   marker        zset    wake-up
--   paused        string  no wake-up while it exists
--   failed        zset    stored id -> instant
--   errors        hash    stored id -> reason
--   failed-bytes  string  size of records and reasons of the failed
--   flow          hash    see flow.lua
-- ARGV
--   1 clock offset, ms   2 to 4 bounds of the failed store: number, age in ms, bytes
--   5 `retry` or `discard`   then the stored ids
-- Reply
--   how many of the ids were there
local NAMES = {'jobs', 'ready', 'attempts', 'marker', 'paused', 'failed', 'errors', 'failed-bytes',
  'flow'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])

admit_when_full(q.jobs)
trim_failed(q, now, {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])})
local ids = {}
for i = 6, #ARGV do
  local failed_at = tonumber(call('ZSCORE', q.failed, ARGV[i]))
  if failed_at and failed_at >= now - tonumber(ARGV[3]) then
    ids[#ids + 1] = ARGV[i]
  end
end
local found = take_out(q, ids)
if ARGV[5] == 'retry' then
  many('RPUSH', q.ready, found)
  if #found > 0 then
    call('HINCRBY', q.flow, 'revived', #found)
    announce(q)
  end
else
  many('HDEL', q.jobs, found)
end
return #found
