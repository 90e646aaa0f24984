-- Pauses a queue, or lets it go on. Paused, it hands out nothing; all else goes on.
--
-- KEYS
--   version  string  schema of the queue
--   ready, future, timekeeper, marker, paused  for the wake-up, see wake.lua
-- ARGV
--   1 clock offset, ms   2 schema   3 `1` to pause, `0` to go on
-- Reply
--   {'APPLIED', 1 if it was not so before}
--   {'VERSION', schema found}
local NAMES = {'version', 'ready', 'future', 'timekeeper', 'marker', 'paused'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
admit_when_full(q.ready)
local before = call('EXISTS', q.paused)
if ARGV[3] == '1' then
  call('SET', q.paused, '1')
else
  call('DEL', q.paused)
end
-- One process that waits is woken where there is something to take again, and wakes the next.
wake(q, now)
return {'APPLIED', before == tonumber(ARGV[3]) and 0 or 1}
