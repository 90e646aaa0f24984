-- Hands the next instant of a periodic task over from the older spinach, which then fires it
-- no more.
--
-- KEYS
--   periodic_tasks_hash   hash    of the older spinach: task -> JSON
--   periodic_tasks_queue  zset    of the older spinach: task -> next due, s
--   version        string  schema of the queue; written here if absent
--   periodic       zset    task -> next due, ms
--   periodic-info  hash    task -> `<interval> <last declared>`, ms
-- ARGV
--   1 clock offset, ms   2 schema   3 task as the older spinach calls it   4 its JSON
--   5 task   6 next due, ms since 1970   7 interval, ms
-- Reply
--   {'OK', '1' or, if it is no longer there, '0'}
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'periodic', 'periodic-info'}
local q = named(NAMES, 2)
local now = now_ms(ARGV[1])

local other = other_schema(q, ARGV[2])
if other then
  return {'VERSION', other}
end
if call('HGET', KEYS[1], ARGV[3]) ~= ARGV[4] then
  return {'OK', '0'}
end
-- A worker that declares it already knows better.
if call('HSETNX', q['periodic-info'], ARGV[5], string.format('%s %.0f', ARGV[7], now)) == 1 then
  call('ZADD', q.periodic, 'NX', ARGV[6], ARGV[5])
end
call('HDEL', KEYS[1], ARGV[3])
call('ZREM', KEYS[2], ARGV[3])
return {'OK', '1'}
