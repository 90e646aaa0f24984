-- Proves the life of a member: its lease starts anew.
--
-- KEYS
--   members  zset  member -> end of its lease
--   seq      hash  member -> last number
--   info     hash  member -> `<lease, ms> ...`
--   guard    hash  see members.lua
--   jobs, failed, enqueued, leases, flow   for a sample, see flow.lua
-- ARGV
--   1 clock offset, ms   2 member
-- Reply
--   {'APPLIED', member to recover or nil, whether the server is full}
--   {'FENCED'}
local NAMES = {'members', 'seq', 'info', 'guard', 'jobs', 'failed', 'enqueued', 'leases', 'flow'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local member = ARGV[2]

local full = is_full(q.members)
if full then
  admit_when_full(q.members)
end
local pause = step(q, now)
if call('HEXISTS', q.seq, member) == 0 then
  return {'FENCED'}
end
call('ZADD', q.members, now + lease_of(q, member), member)
take_sample(q, now)
return {'APPLIED', name_dead(q, member, now, pause), full and 1 or 0}
