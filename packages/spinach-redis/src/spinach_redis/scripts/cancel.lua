-- Takes jobs back (I22). One that no worker has is gone; else its worker is to hear of it.
--
-- KEYS
--   jobs, ready, future, retrying, attempts   see keys.py
--   timekeeper, marker, paused   for the wake-up, see wake.lua
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   parked, parked-ends          see lanes.lua
--   failed        zset    stored id -> instant
--   members, guard               see members.lua
--   cancelled                    see gaps.lua
--   cancelling                   see leased.lua
--   running:<member>     of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 most bytes of records in the reply; one larger job comes alone
--   3 count of members, the members   then the stored ids
-- Reply
--   {'APPLIED', for each id in order: a letter, record, retries}; fewer than there are ids
--   where the records are too many bytes: call again for the others
--     C cancelled, R its worker is to hear of it, F in the failed store, U there is none
--   {'KEYS', members}: nothing was done, their keys are needed
local NAMES = {'jobs', 'ready', 'future', 'retrying', 'attempts', 'timekeeper', 'marker', 'paused',
  'limits', 'declared', 'slots', 'held', 'held-ends', 'brought', 'parked', 'parked-ends', 'failed',
  'members', 'guard', 'cancelled', 'cancelling'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local most_bytes = tonumber(ARGV[2])
local known = {}
for i = 1, tonumber(ARGV[3]) do
  known[i] = ARGV[3 + i]
end
local running, members = keys_of_members(q, known, #NAMES)
if not running then
  return {'KEYS', members}
end

local function member_with(id)
  for member, key in pairs(running) do
    if call('HEXISTS', key, id) == 1 then
      return member
    end
  end
end

-- Takes a job out of the lane where it stands.
local function drop_from(entries, ends, id, where)
  local name, number = string.match(where, '^(.*)|(%-?%d+)$')
  local lane = lane_of(entries, ends, name)
  number = tonumber(number)
  if number == lane.first then
    lane.first = lane.first + 1
  elseif number == lane.last then
    lane.last = lane.last - 1
  else
    lane.holes = lane.holes + 1
  end
  write_ends(lane)
  call('HDEL', entries, id, where)
end

admit_when_full(q.jobs)
local limits = limits_of(q)
local answer, bytes, requested, came_back = {}, 0, false, false

-- Takes a job out of the place where it waits.
local function take_back(id, record)
  if call('ZREM', q.future, id) == 1 then
    call('SREM', q.retrying, id)
    return
  end
  local held = call('HGET', q.held, id)
  if held then
    return drop_from(q.held, q['held-ends'], id, held)
  end
  local parked = call('HGET', q.parked, id)
  if parked then
    return drop_from(q.parked, q['parked-ends'], id, parked)
  end
  call('SADD', q.cancelled, id)
  local task = next(limits) and call('SISMEMBER', q.brought, id) == 1 and task_of(record)
  local limit = task and limit_of(q, limits, task)
  if limit then
    -- A slot may be free for it, and is for the next one now.
    bring_back(q, limit, 1)
    came_back = true
  end
end

for i = 4 + #known, #ARGV do
  local id, letter, retries = ARGV[i], 'U', 0
  local record = call('HGET', q.jobs, id)
  local answered = ''
  if record and call('ZSCORE', q.failed, id) then
    letter = 'F'
  elseif record then
    local member = member_with(id)
    if member then
      letter, requested = 'R', true
      call('HSET', q.cancelling, id, member)
    else
      if bytes > 0 and bytes + #record > most_bytes then
        break
      end
      letter, answered, bytes = 'C', record, bytes + #record
      retries = attempts_of(call('HGET', q.attempts, id))
      take_back(id, record)
      call('HDEL', q.jobs, id)
      call('HDEL', q.attempts, id)
    end
  end
  answer[#answer + 1] = letter
  answer[#answer + 1] = answered
  answer[#answer + 1] = retries
end
if requested then
  note_number(q, 'cancelling')
end
close_up(q)
if call('EXISTS', q.ready) == 1 then
  if came_back then
    announce(q)
  end
elseif call('EXISTS', q.future) == 0 or timekeeper(q, now) then
  call('DEL', q.marker)
end
return {'APPLIED', answer}
