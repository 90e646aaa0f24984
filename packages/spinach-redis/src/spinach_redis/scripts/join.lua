-- Makes a process a member of a queue, or starts its lease anew. A member that says so by a
-- number replaces what it declared before.
--
-- KEYS
--   version        string  schema of the queue; written here if absent
--   members        zset    member -> end of its lease
--   seq            hash    member -> last number
--   info           hash    member -> `<lease, ms> <periodic tasks>\n<description>\n<limits>`,
--                          where a limit is `<task>|<limit>`, with leading zeros
--   guard          hash    see members.lua, and retention.lua
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   jobs           hash    stored id -> record
--   ready, future, timekeeper, marker, paused  for the wake-up, see wake.lua
--   periodic       zset    task -> next due
--   periodic-info  hash    task -> `<interval> <last declared>`, ms
--   periodic-paused  hash  see grid.lua
--   failed, enqueued, flow  for a sample, see flow.lua
--   running:<member>       of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 schema   3 member   4 lease, ms   5 info   6 time after
--   which a periodic task that no member declares is forgotten, in ms
--   7 number of the call, 0 to join   8 what the failed store keeps, see retention.lua
--   9 count of periodic tasks
--   then task, interval in ms for each
--   then the members known
-- Reply
--   {'APPLIED', us until a periodic task of the member is due or nil}
--   {'FENCED'}: under this name a dead member is being recovered; or there is none, and it
--   declares anew
--   {'STALE'}: it declared anew under this number or a later one
--   {'KEYS', members}: nothing was done, their keys are needed
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'members', 'seq', 'info', 'guard', 'limits', 'declared', 'slots', 'held',
  'held-ends', 'brought', 'jobs', 'ready', 'future', 'timekeeper', 'marker', 'paused', 'periodic',
  'periodic-info', 'periodic-paused', 'failed', 'enqueued', 'flow'}
local q = named(NAMES, 0)
local now, _, now_us = now_ms(ARGV[1])
local member, lease = ARGV[3], tonumber(ARGV[4])
local number = tonumber(ARGV[7])
local wanted, limited = declared_by(ARGV[5])
local periods, a = {}, 10
for i = 1, tonumber(ARGV[9]) do
  periods[i] = {ARGV[a], tonumber(ARGV[a + 1])}
  a = a + 2
end
local running = {}
for i = a, #ARGV do
  running[ARGV[i]] = KEYS[#NAMES + i - a + 1]
end

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

-- See occupy.lua. Slots may be left from an earlier limit, which went with the last member that
-- declared it.
local fresh = {}
if declares and #limited > 0 then
  local overrides = fields_of(q.limits, limited)
  for i = 1, #limited do
    fresh[limited[i]] = not in_force(q, limited[i], overrides[i]) or nil
  end
end
if next(fresh) then
  local members = call('ZRANGE', q.members, 0, -1)
  for i = 1, #members do
    if not running[members[i]] then
      return {'KEYS', members}
    end
  end
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
call('HSET', q.guard, 'lease', math.max(longest, lease), 'retention', ARGV[8])
call('ZADD', q.members, now + lease, member)
take_sample(q, now)
local former = {}
if anew then
  local info = call('HGET', q.info, member) or ''
  former = declared_by(info)
  withdraw(q, limits_of(q), member, info, wanted)
  end_schedule(q, info, now)
end
local earliest = nil
if declares then
  -- A copy of an earlier join must not change it: it says what `declared` has of the member.
  call('HSET', q.info, member, ARGV[5])
  if not known then
    call('HSET', q.seq, member, 0)
  end
  if next(fresh) then
    occupy_leased(q, running, fresh)
  end
  for i = 1, #limited do
    local task = limited[i]
    call('HSETNX', q.limits, task, '')
    if former[task] and former[task] ~= wanted[task] then
      call('ZREM', q.declared, former[task] .. '|' .. member)
    end
    call('ZADD', q.declared, 0, wanted[task] .. '|' .. member)
    local n = in_force(q, task, call('HGET', q.limits, task))
    fill_slots(q, {task = task, n = n})
  end
  for i = 1, #periods do
    local task, interval = periods[i][1], periods[i][2]
    local due = tonumber(call('ZSCORE', q.periodic, task))
    -- One that is paused stays so.
    if due ~= NEVER then
      call('ZADD', q.periodic, math.min(due or now + interval, now + interval), task)
    end
    call('HSET', q['periodic-info'], task, string.format('%.0f %.0f', interval, now))
  end
  local seen = call('HRANDFIELD', q['periodic-info'], 100, 'WITHVALUES')
  for i = 1, #seen, 2 do
    if tonumber(string.match(seen[i + 1], '%d+$')) < now - tonumber(ARGV[6]) then
      call('HDEL', q['periodic-info'], seen[i])
      call('HDEL', q['periodic-paused'], seen[i])
      call('ZREM', q.periodic, seen[i])
    end
  end
  wake(q, now)
end
for i = 1, #periods do
  local due = tonumber(call('ZSCORE', q.periodic, periods[i][1]))
  if due then
    due = look_at(q, periods[i][1], due, periods[i][2], now)
    earliest = math.min(earliest or due, due)
  end
end
return {'APPLIED', earliest and until_us(earliest, now_us) or false}
