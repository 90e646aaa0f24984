-- Ends a membership that holds nothing.
--
-- KEYS
--   ready, future, timekeeper, marker, paused  for the wake-up, see wake.lua
--   members, seq, info, guard                  see members.lua
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   periodic-info  hash  task -> `<interval> <last declared>`, ms
--   running:<member>     hash  stored id -> token
-- ARGV
--   1 clock offset, ms   2 member   3 number
-- Reply
--   {'APPLIED'} | {'REFUSED'}: it has leases | {'FENCED'} | {'STALE'}
local NAMES = {'ready', 'future', 'timekeeper', 'marker', 'paused', 'members', 'seq', 'info', 'guard',
  'limits', 'declared', 'slots', 'held', 'held-ends', 'brought', 'periodic-info'}
local q = named(NAMES, 0)
local running = KEYS[#NAMES + 1]
local now = now_ms(ARGV[1])
local member = ARGV[2]

admit_when_full(q.ready)
step(q, now)
local refused = refusal(q, member, tonumber(ARGV[3]))
if refused then
  return {refused}
end
if call('EXISTS', running) == 1 then
  return {'REFUSED'}
end
dismiss(q, limits_of(q), member, now)
call('ZREM', q.members, member)
call('HDEL', q.info, member)
call('HDEL', q.guard, 'named:' .. member)
wake(q, now)
return {'APPLIED'}
