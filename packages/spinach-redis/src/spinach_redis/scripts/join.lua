-- Makes a process a member of a queue, or starts its lease anew. A member that says so by a
-- number replaces what it declared before.
--
-- KEYS
--   version        string  schema of the queue; written here if absent
--   members        zset    member -> end of its lease
--   seq            hash    member -> last number
--   info           hash    member -> `<lease, ms> <periodic tasks>\n<description>`
--   guard          hash    see members.lua
--   limits         hash    limited task -> override or ''
--   brought        set     see slots.lua
--   jobs           hash    stored id -> record
--   ready, future, timekeeper, marker, paused  for the wake-up, see wake.lua
--   periodic       zset    task -> next due
--   periodic-info  hash    task -> `<interval> <last declared>`, ms
--   slots, held, limit     of each limited task that the member declares, and of each other
--                          one that the caller knows
--   running:<member>       of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 schema   3 member   4 lease, ms   5 info   6 time after
--   which a periodic task that nobody declares is forgotten, in ms
--   7 count of limited tasks, the tasks; then a limit for each
--   then count of periodic tasks; task, interval in ms for each
--   then count of members known, the members
--   then number of the call, 0 to join
--   then count of other limited tasks known, the tasks
-- Reply
--   {'APPLIED', us until a periodic task of the member is due or nil}
--   {'FENCED'}: under this name a dead member is being recovered; or there is none, and it
--   declares anew
--   {'STALE'}: it declared anew under this number or a later one
--   {'KEYS', members, limited tasks}: nothing was done, their keys are needed
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'members', 'seq', 'info', 'guard', 'limits', 'brought', 'jobs', 'ready',
  'future', 'timekeeper', 'marker', 'paused', 'periodic', 'periodic-info'}
-- Read at once, so that large ones do not fill the memory of the server.
local RECORDS = 100
local q = named(NAMES, 0)
local now, _, now_us = now_ms(ARGV[1])
local member, lease = ARGV[3], tonumber(ARGV[4])

local declared, a, k = declared_limits(7, #NAMES)
local wanted = {}
for i = 1, tonumber(ARGV[7]) do
  wanted[ARGV[7 + i]] = tonumber(ARGV[a])
  a = a + 1
end
local periods = {}
for i = 1, tonumber(ARGV[a]) do
  periods[i] = {ARGV[a + 2 * i - 1], tonumber(ARGV[a + 2 * i])}
end
a = a + 2 * #periods + 1
local running = {}
local member_count = tonumber(ARGV[a])
for i = 1, member_count do
  running[ARGV[a + i]] = KEYS[k + i]
end
a, k = a + member_count + 1, k + member_count
local number = tonumber(ARGV[a])
local others = declared_limits(a + 1, k)

local version = call('GET', q.version)
if version and version ~= ARGV[2] then
  return {'VERSION', version}
end
local anew = number > 0
local known = call('ZSCORE', q.members, member)
if (known or anew) and call('HEXISTS', q.seq, member) == 0 then
  return {'FENCED'}
end
local declares = anew or not known

-- A limit where there was none has to count the jobs that are leased without one. This
-- alone looks at all leases of a queue, once for a limit that is new. Slots may be left
-- from an earlier one that went with the last member who declared it.
local fresh, unknown, no_keys = {}, {}, {}
if declares then
  for task in pairs(wanted) do
    fresh[task] = not in_force(declared[task], call('HGET', q.limits, task)) or nil
  end
end
if next(fresh) then
  local members = call('ZRANGE', q.members, 0, -1)
  for i = 1, #members do
    if not running[members[i]] then
      unknown = members
    end
  end
end
if anew then
  -- It may have declared any of them before.
  local limited = call('HKEYS', q.limits)
  for i = 1, #limited do
    if not declared[limited[i]] and not others[limited[i]] then
      no_keys[#no_keys + 1] = limited[i]
    end
  end
end
if #unknown > 0 or #no_keys > 0 then
  return {'KEYS', unknown, no_keys}
end

admit_when_full(q.ready)
call('SET', q.version, ARGV[2])
step(q, now)
if anew then
  local refused = refusal(q, member, number)
  if refused then
    return {refused}
  end
end
local longest = call('ZCARD', q.members) > 0 and tonumber(call('HGET', q.guard, 'lease')) or 0
call('HSET', q.guard, 'lease', math.max(longest, lease))
call('ZADD', q.members, now + lease, member)
if anew then
  withdraw(q, others, member)
  end_schedule(q, member, now)
end
call('HSET', q.info, member, ARGV[5])
local earliest = nil
if declares then
  if not known then
    call('HSET', q.seq, member, 0)
  end
  if next(fresh) then
    for _, key in pairs(running) do
      local ids = call('HKEYS', key)
      for i = 1, #ids, RECORDS do
        local last = math.min(i + RECORDS - 1, #ids)
        local records = call('HMGET', q.jobs, unpack(ids, i, last))
        for j = 1, #records do
          local task = task_of(records[j])
          if task and fresh[task] then
            call('SADD', declared[task].slots, ids[i + j - 1])
          end
        end
      end
    end
  end
  for task, limit in pairs(wanted) do
    call('HSETNX', q.limits, task, '')
    call('ZADD', declared[task].limit, limit, member)
    declared[task].n = in_force(declared[task], call('HGET', q.limits, task))
    settle(q, task, declared[task])
  end
  for i = 1, #periods do
    local task, interval = periods[i][1], periods[i][2]
    local due = tonumber(call('ZSCORE', q.periodic, task))
    call('ZADD', q.periodic, math.min(due or now + interval, now + interval), task)
    call('HSET', q['periodic-info'], task, string.format('%.0f %.0f', interval, now))
  end
  local seen = call('HRANDFIELD', q['periodic-info'], 100, 'WITHVALUES')
  for i = 1, #seen, 2 do
    if tonumber(string.match(seen[i + 1], '%d+$')) < now - tonumber(ARGV[6]) then
      call('HDEL', q['periodic-info'], seen[i])
      call('ZREM', q.periodic, seen[i])
    end
  end
  wake(q, now)
end
for i = 1, #periods do
  local due = tonumber(call('ZSCORE', q.periodic, periods[i][1]))
  if due then
    earliest = math.min(earliest or due, due)
  end
end
return {'APPLIED', earliest and until_us(earliest, now_us) or false}
