-- Enqueues the job of one periodic tick and moves the task on, unless it has moved
-- already (I15).
--
-- KEYS
--   jobs, ready, future, timekeeper, marker, paused, enqueued  as in enqueue.lua
--   periodic       zset  task -> next due
--   periodic-info  hash  task -> `<interval> <last declared>`, ms
--   periodic-paused  hash  see grid.lua
--   guard          hash  see members.lua
--   members        zset  see members.lua
--   info           hash  see members.lua
-- ARGV
--   1 clock offset, ms   2 task   3 due, ms since 1970   4 stored id   5 record
-- Reply
--   {'APPLIED' or 'REFUSED', us until the task is due next or nil}
local NAMES = {'jobs', 'ready', 'future', 'timekeeper', 'marker', 'paused', 'enqueued', 'periodic',
  'periodic-info', 'periodic-paused', 'guard', 'members', 'info'}
local q = named(NAMES, 0)
local now, _, now_us = now_ms(ARGV[1])
local task, asked = ARGV[2], tonumber(ARGV[3])
local due = tonumber(call('ZSCORE', q.periodic, task))
local interval = tonumber(string.match(call('HGET', q['periodic-info'], task) or '', '^%d+'))

if not due or not interval or due ~= asked or due > now then
  admit_when_full(q.ready)
  step(q, now)
  return {'REFUSED', due and interval
    and until_us(look_at(q, task, due, interval, now), now_us) or false}
end
-- Before anything else is written: a full server refuses this.
if call('HSETNX', q.jobs, ARGV[4], ARGV[5]) == 1 then
  call('RPUSH', q.ready, ARGV[4])
  call('INCRBY', q.enqueued, 1)
  announce(q)
end
due = next_on_grid(due, interval, now)
call('ZADD', q.periodic, due, task)
step(q, now)
return {'APPLIED', until_us(due, now_us)}
