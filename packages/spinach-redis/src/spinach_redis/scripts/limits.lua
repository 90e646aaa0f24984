-- Tells of the limited tasks of a queue: their limits, who has a slot and how many wait for one.
--
-- KEYS
--   version   string  schema of the queue
--   limits, declared, slots, held, held-ends   see slots.lua
-- ARGV
--   1 schema   2 most jobs with a slot that are told of a task
-- Reply
--   {'APPLIED', of each task: its name, the limit that an operator set or '', the lowest one that
--    a member declares or nil, how many members do, how many slots are occupied, stored ids of
--    the jobs that have one, how many are held}
--   {'VERSION', schema found}
local NAMES = {'version', 'limits', 'declared', 'slots', 'held', 'held-ends'}
local q = named(NAMES, 0)

local other = foreign(q, ARGV[1])
if other then
  return {'VERSION', other}
end
local answers = {}
for task, limit in pairs(limits_of(q)) do
  local from, to = range_of(task)
  local holders = call('ZRANGEBYLEX', q.slots, from, to, 'LIMIT', 0, tonumber(ARGV[2]))
  for i = 1, #holders do
    holders[i] = string.sub(holders[i], #task + 2)
  end
  answers[#answers + 1] = {task, limit.override, in_force(q, task, '') or false,
    call('ZLEXCOUNT', q.declared, from, to), occupied(q, task), holders,
    length_of(held_lane(q, task))}
end
return {'APPLIED', answers}
