-- Tells of the members of a queue: what they said of themselves, their life, and their leases.
--
-- KEYS
--   version   string  schema of the queue
--   members   zset    member -> end of its lease
--   seq       hash    member -> last number
--   info      hash    member -> `<lease, ms> <periodic tasks>\n<description>\n<limits>`
--   jobs      hash    stored id -> record
--   attempts  hash    stored id -> `<retries>,<losses>,<direct-only>`
--   running:<member>  hash  stored id -> token, of each member below
-- ARGV
--   1 clock offset, ms   2 schema   3 most leases that are told of a member
--   4 most bytes of records that are read   then members
-- Reply
--   {'APPLIED', now in ms, all members, of each member: nil, or end of its lease, whether it is
--    alive, info, count of leases, the oldest of them: stored id, token, task or nil, attempts or
--    nil for each}
--   {'VERSION', schema found}
local NAMES = {'version', 'members', 'seq', 'info', 'jobs', 'attempts'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local most, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end

-- The jobs that idle threads were given first, of each kind the oldest first.
local function leases_of(key)
  local flat, leases, told = call('HGETALL', key), {}, {}
  for i = 1, #flat, 2 do
    local token = flat[i + 1]
    leases[#leases + 1] = {flat[i], token, tonumber(string.match(token, '%d+')),
      string.sub(token, 1, 1) == 'd'}
  end
  table.sort(leases, function(one, other)
    if one[4] ~= other[4] then
      return one[4]
    end
    return one[3] < other[3]
  end)
  for i = 1, math.min(most, #leases) do
    local id, task = leases[i][1], false
    bytes = bytes - call('HSTRLEN', q.jobs, id)
    if bytes >= 0 then
      task = task_of(call('HGET', q.jobs, id))
    end
    told[#told + 1], told[#told + 2], told[#told + 3] = id, leases[i][2], task
    told[#told + 1] = call('HGET', q.attempts, id)
  end
  return #leases, told
end

local answers = {}
for i = 5, #ARGV do
  local member = ARGV[i]
  local ends = tonumber(call('ZSCORE', q.members, member))
  if ends then
    local alive = ends >= now and call('HEXISTS', q.seq, member) == 1
    local count, told = leases_of(KEYS[#NAMES + i - 4])
    answers[#answers + 1] = {ends, alive and 1 or 0, call('HGET', q.info, member) or '', count, told}
  else
    answers[#answers + 1] = false
  end
end
return {'APPLIED', now, call('ZRANGE', q.members, 0, -1), answers}
