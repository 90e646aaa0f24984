-- Converts a queue of schema 1, whose keys of tasks had the tasks in their names, to schema 2.
-- The first call sees that none of its members lives, and fences them; from then on no release
-- works on the queue until the last call. Each call moves a bounded number of jobs, and each
-- job at once from one place to the other (I1), so that another process may go on where one
-- stopped.
--
-- KEYS
--   version                    string  '1', in between '1>2', at the end '2'
--   members, seq, info, guard  see members.lua
--   timekeeper                 string  is gone afterwards
--   limits, slots, held, held-ends, brought   see slots.lua
--   parks                      set     of schema 1: tasks with parked jobs
--   parked, parked-ends        hash, hash: the lane of each park, see lanes.lua
--   running:<member>           hash    stored id -> token, of each member known, followed by
--                                      the one under its new name
--   slots, held, limit         set, list, zset, of schema 1, of each limited task known
--   parked:<park>              list    of schema 1, of each park known
-- ARGV
--   1 clock offset, ms   2 schema   3 most jobs   4 end of the new name of a member
--   then count of members known, the members; count of limited tasks, the tasks;
--   count of parks, the parks
-- Reply
--   {'DONE'}: it has our schema
--   {'MORE'}: call again
--   {'LIVING', info of a member and ms since it proved its life, for each}: nothing was done
--   {'KEYS', members, limited tasks, parks}: nothing was done, their keys are needed
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'members', 'seq', 'info', 'guard', 'timekeeper', 'limits', 'slots', 'held',
  'held-ends', 'brought', 'parks', 'parked', 'parked-ends'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local left = tonumber(ARGV[3])
local a, k = 5, #NAMES

-- Reads a count and names, and gives each its next keys, `width` of them.
local function declared_names(width)
  local keys = {}
  for i = 1, tonumber(ARGV[a]) do
    local own = {}
    for j = 1, width do
      own[j] = KEYS[k + j]
    end
    keys[ARGV[a + i]] = own
    k = k + width
  end
  a = a + tonumber(ARGV[a]) + 1
  return keys
end

local running, of_limits, of_parks = declared_names(2), declared_names(3), declared_names(1)
local version = call('GET', q.version)
if not version or version == ARGV[2] then
  return {'DONE'}
elseif version ~= '1' and version ~= '1>2' then
  return {'VERSION', version}
end
local members = version == '1' and call('ZRANGE', q.members, 0, -1) or {}
local limits, limited, parks = call('HGETALL', q.limits), {}, call('SMEMBERS', q.parks)
for i = 1, #limits, 2 do
  limited[#limited + 1] = limits[i]
end
local function lacks(names, keys)
  for i = 1, #names do
    if not keys[names[i]] then
      return true
    end
  end
  return false
end
if lacks(members, running) or lacks(limited, of_limits) or lacks(parks, of_parks) then
  return {'KEYS', members, limited, parks}
end

-- Converting takes some memory, but a full server could not be drained without it.
admit_when_full(q.info)

-- Members that may work: those that have not left or been fenced, while their lease runs, and
-- for one lease more from when this was first asked: the server may have been away (I11). It is
-- asked anew when a lease is over of a member that lived after that.
local function living()
  local asked, last, found = tonumber(call('HGET', q.guard, 'asked')), {}, {}
  local first = not asked or asked > now
  for i = 1, #members do
    if call('HEXISTS', q.seq, members[i]) == 1 then
      local ends, lease = tonumber(call('ZSCORE', q.members, members[i])), lease_of(q, members[i]) or 0
      last[#last + 1] = {member = members[i], ends = ends, lease = lease}
      first = first or (ends < now and ends - lease > asked + STEP_MS)
    end
  end
  if first then
    asked = now
    call('HSET', q.guard, 'asked', now)
  end
  for i = 1, #last do
    local m = last[i]
    if m.ends >= now or now < asked + m.lease then
      found[#found + 1] = call('HGET', q.info, m.member) or ''
      found[#found + 1] = math.max(0, now - (m.ends - m.lease))
    end
  end
  return found
end

-- A member that is dead keeps its leases under another name, for recovery. Were it to come back,
-- it would be fenced, and its outcomes refused (I5): it would look for its slots elsewhere.
local function fence(member)
  local name = member .. ARGV[4]
  local ends = tonumber(call('ZSCORE', q.members, member))
  local leases = call('HGETALL', running[member][1])
  call('HDEL', q.seq, member)
  call('HSET', q.info, name, call('HGET', q.info, member) or '')
  call('ZADD', q.members, math.min(ends, now - 1), name)
  many('HSET', running[member][2], leases)
  call('DEL', running[member][1])
  call('ZREM', q.members, member)
  call('HDEL', q.info, member)
  call('HDEL', q.guard, 'named:' .. member)
end

-- Moves the jobs of a list into a lane; whether all are.
local function move(list, lane)
  while left > 0 and call('LLEN', list) > 0 do
    local ids = call('LPOP', list, math.min(left, PORTION))
    append(lane, ids)
    left = left - #ids
  end
  return call('LLEN', list) == 0
end

if version == '1' then
  local found = living()
  if #found > 0 then
    return {'LIVING', unpack(found)}
  end
  for i = 1, #members do
    fence(members[i])
  end
  call('DEL', q.timekeeper)
  for i = 1, #limited do
    -- Its limits went with the members. Leased jobs keep their slots.
    local keys, slots = of_limits[limited[i]], {}
    for j, id in ipairs(call('SMEMBERS', keys[1])) do
      slots[2 * j - 1], slots[2 * j] = 0, limited[i] .. '|' .. id
    end
    many('ZADD', q.slots, slots)
    call('DEL', keys[1], keys[3])
  end
  call('HDEL', q.guard, 'asked')
  call('SET', q.version, '1>2')
end
local complete = true
for i = 1, #limited do
  local task = limited[i]
  complete = move(of_limits[task][2], lane_of(q.held, q['held-ends'], task)) and complete
end
for i = 1, #parks do
  complete = move(of_parks[parks[i]][1], lane_of(q.parked, q['parked-ends'], parks[i])) and complete
end
if not complete then
  return {'MORE'}
end
for i = 1, #limited do
  local task = limited[i]
  if not tonumber(call('HGET', q.limits, task)) and call('HEXISTS', q['held-ends'], task) == 0
      and call('ZLEXCOUNT', q.slots, '[' .. task .. '|', '(' .. task .. '}') == 0 then
    call('HDEL', q.limits, task)
  end
end
if call('EXISTS', q.limits) == 0 then
  call('DEL', q.brought)
end
call('DEL', q.parks)
call('SET', q.version, ARGV[2])
return {'DONE'}
