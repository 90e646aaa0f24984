-- Tells of the periodic tasks of a queue.
--
-- KEYS
--   version          string  schema of the queue
--   periodic         zset    task -> next due
--   periodic-info    hash    task -> `<interval> <last declared>`, ms
--   periodic-paused  hash    task -> instant at which it was due, see grid.lua
-- ARGV
--   1 clock offset, ms   2 schema
-- Reply
--   {'APPLIED', of each task: its name, interval in ms, when it is due in ms since 1970 or, if it
--    is paused, when it would be, whether it is paused}
--   {'VERSION', schema found}
local NAMES = {'version', 'periodic', 'periodic-info', 'periodic-paused'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
local flat, answers = call('ZRANGE', q.periodic, 0, -1, 'WITHSCORES'), {}
for i = 1, #flat, 2 do
  local task, due = flat[i], tonumber(flat[i + 1])
  local interval = tonumber(string.match(call('HGET', q['periodic-info'], task) or '', '^%d+'))
  if interval then
    answers[#answers + 1] = {task, string.format('%.0f', interval),
      string.format('%.0f', look_at(q, task, due, interval, now)), due == NEVER and 1 or 0}
  end
end
return {'APPLIED', answers}
