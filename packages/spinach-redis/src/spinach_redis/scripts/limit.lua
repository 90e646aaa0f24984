-- Sets the limit of a task for all processes, or leaves it to their declarations again (I10).
--
-- KEYS
--   version   string  schema of the queue
--   members   zset    member -> end of its lease
--   jobs      hash    stored id -> record
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   ready, future, timekeeper, marker, paused  for the wake-up, see wake.lua
--   running:<member>  of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 schema   3 task   4 limit, or '' for what members declare
--   then the members known
-- Reply
--   {'APPLIED'}
--   {'KEYS', members}: nothing was done, their keys are needed
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'members', 'jobs', 'limits', 'declared', 'slots', 'held', 'held-ends',
  'brought', 'ready', 'future', 'timekeeper', 'marker', 'paused'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local task, override = ARGV[3], ARGV[4]
local running = {}
for i = 5, #ARGV do
  running[ARGV[i]] = KEYS[#NAMES + i - 4]
end

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
local former = call('HGET', q.limits, task)
local fresh = override ~= '' and not in_force(q, task, former)
if fresh then
  local members = call('ZRANGE', q.members, 0, -1)
  for i = 1, #members do
    if not running[members[i]] then
      return {'KEYS', members}
    end
  end
end
admit_when_full(q.ready)
if former or override ~= '' then
  call('HSET', q.limits, task, override)
  if fresh then
    occupy_leased(q, running, {[task] = true})
  end
  fill_slots(q, {task = task, n = in_force(q, task, override)})
  wake(q, now)
end
return {'APPLIED'}
