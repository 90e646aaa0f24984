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
--   guard         hash    the bounds in force, see retention.lua
--   results, results-until   see results.lua
--   flow          hash    see flow.lua
-- ARGV
--   1 clock offset, ms   2 to 4 bounds by default: number, age in ms, bytes
--   5 `retry` or `discard`   then the stored ids
-- Reply
--   how many of the ids were there
local NAMES = {'jobs', 'ready', 'attempts', 'marker', 'paused', 'failed', 'errors', 'failed-bytes',
  'guard', 'results', 'results-until', 'flow'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])

admit_when_full(q.jobs)
local bounds = bounds_in_force(q, {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])})
trim_failed(q, now, bounds)
local ids = {}
for i = 6, #ARGV do
  local failed_at = tonumber(call('ZSCORE', q.failed, ARGV[i]))
  if failed_at and failed_at >= now - bounds[2] then
    ids[#ids + 1] = ARGV[i]
  end
end
local found = take_out(q, ids)
if ARGV[5] == 'retry' then
  forget_ends(q, found)
  many('RPUSH', q.ready, found)
  if #found > 0 then
    call('HINCRBY', q.flow, 'revived', #found)
    announce(q)
  end
else
  many('HDEL', q.jobs, found)
end
return #found
