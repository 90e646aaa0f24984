-- Pauses a periodic task, or lets it go on with the next instant of its grid (I15).
--
-- KEYS
--   version          string  schema of the queue
--   periodic         zset    task -> next due
--   periodic-info    hash    task -> `<interval> <last declared>`, ms
--   periodic-paused  hash    task -> instant at which it was due, see grid.lua
-- ARGV
--   1 clock offset, ms   2 schema   3 task   4 `1` to pause, `0` to go on
-- Reply
--   {'APPLIED', 1 if it was not so before}
--   {'REFUSED'}: the queue knows no such task
--   {'VERSION', schema found}
local NAMES = {'version', 'periodic', 'periodic-info', 'periodic-paused'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local task = ARGV[3]

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
admit_when_full(q.periodic)
local due = tonumber(call('ZSCORE', q.periodic, task))
local interval = tonumber(string.match(call('HGET', q['periodic-info'], task) or '', '^%d+'))
if not due or not interval then
  return {'REFUSED'}
end
if (due == NEVER) == (ARGV[4] == '1') then
  return {'APPLIED', 0}
end
if ARGV[4] == '1' then
  call('HSET', q['periodic-paused'], task, string.format('%.0f', due))
  call('ZADD', q.periodic, string.format('%.0f', NEVER), task)
else
  call('ZADD', q.periodic, string.format('%.0f', look_at(q, task, due, interval, now)), task)
  call('HDEL', q['periodic-paused'], task)
end
return {'APPLIED', 1}
