-- Proves the life of a member: its lease starts anew.
--
-- KEYS
--   members  zset  member -> end of its lease
--   seq      hash  member -> last number
--   info     hash  member -> `<lease, ms> ...`
--   guard    hash  see members.lua
--   running:<member>  hash  stored id -> token
-- ARGV
--   1 clock offset, ms   2 member   3 number
-- Reply
--   {'APPLIED', count of its leases, member to recover or nil, whether the server is full}
--   {'FENCED'} | {'STALE'}
local NAMES = {'members', 'seq', 'info', 'guard'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local member = ARGV[2]

local full = is_full(q.members)
if full then
  admit_when_full(q.members)
end
local pause = step(q, now)
local refused = refusal(q, member, tonumber(ARGV[3]))
if refused then
  return {refused}
end
call('ZADD', q.members, now + lease_of(q, member), member)
return {'APPLIED', call('HLEN', KEYS[#NAMES + 1]), name_dead(q, member, now, pause),
  full and 1 or 0}
