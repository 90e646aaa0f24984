-- Compares the leases of a member with those its process holds (I6), and proves its life.
--
-- KEYS
--   jobs      hash  stored id -> record
--   attempts  hash  stored id -> `<retries>,<losses>,<direct-only>`
--   members   zset  member -> end of its lease
--   seq       hash  member -> last number
--   info      hash  member -> `<lease, ms> ...`
--   guard     hash  see members.lua
--   running:<member>  hash  stored id -> token
-- ARGV
--   1 clock offset, ms   2 member   3 number   4 most bytes of records in the reply
--   then stored id, token of each lease that the process holds
-- Reply
--   {'APPLIED', leases that the process lacks, pairs that it holds and does not own, more}
--     leases as in fetch.lua; pairs: stored id, token for each; more: 1 where the leases
--     are not all, since they would be too large for one reply
--   {'FENCED'} | {'STALE'}
local NAMES = {'jobs', 'attempts', 'members', 'seq', 'info', 'guard'}
local q = named(NAMES, 0)
local running = KEYS[#NAMES + 1]
local now = now_ms(ARGV[1])

admit_when_full(q.jobs)
step(q, now)
local refused = refusal(q, ARGV[2], tonumber(ARGV[3]))
if refused then
  return {refused}
end
call('ZADD', q.members, now + lease_of(q, ARGV[2]), ARGV[2])
local owned = {}
local pairs_ = call('HGETALL', running)
for i = 1, #pairs_, 2 do
  owned[pairs_[i]] = pairs_[i + 1]
end
local strays, known = {}, {}
for i = 5, #ARGV, 2 do
  if owned[ARGV[i]] == ARGV[i + 1] then
    known[ARGV[i]] = true
  else
    strays[#strays + 1] = ARGV[i]
    strays[#strays + 1] = ARGV[i + 1]
  end
end
local lacking = {}
for id, token in pairs(owned) do
  if not known[id] then
    lacking[#lacking + 1] = {id, token, tonumber(string.match(token, '%d+'))}
  end
end
table.sort(lacking, function(one, other) return one[3] < other[3] end)
local most_bytes = tonumber(ARGV[4])
local leases, bytes, more = {}, 0, 0
for i = 1, #lacking do
  local id = lacking[i][1]
  local record = call('HGET', q.jobs, id)
  if not record then
    call('HDEL', running, id)
  elseif bytes > 0 and bytes + #record > most_bytes then
    more = 1
    break
  else
    bytes = bytes + #record
    leases[#leases + 1] = id
    leases[#leases + 1] = lacking[i][2]
    leases[#leases + 1] = record
    leases[#leases + 1] = call('HGET', q.attempts, id)
  end
end
return {'APPLIED', leases, strays, more}
