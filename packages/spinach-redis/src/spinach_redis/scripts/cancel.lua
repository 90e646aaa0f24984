-- Takes jobs back (I22). One that no worker has is gone; else its worker is to hear of it.
--
-- KEYS
--   version, jobs, ready, future, retrying, attempts   see keys.py
--   timekeeper, marker, paused   for the wake-up, see wake.lua
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   parked, parked-ends          see lanes.lua
--   failed        zset    stored id -> instant
--   members, guard               see members.lua
--   cancelled                    see gaps.lua
--   cancelling                   see leased.lua
--   results, results-until, awaited   see results.lua
--   running:<member>     of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 schema   3 most bytes of records in the reply; one larger job comes
--   alone   4 count of members, the members   then the stored ids
-- Reply
--   {'APPLIED', for each id in order: a letter, record, retries}; fewer than there are ids
--   where the records are too many bytes: call again for the others
--     C cancelled, R its worker is to hear of it, F in the failed store, U there is none
--   {'KEYS', members}: nothing was done, their keys are needed
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'jobs', 'ready', 'future', 'retrying', 'attempts', 'timekeeper', 'marker',
  'paused', 'limits', 'declared', 'slots', 'held', 'held-ends', 'brought', 'parked', 'parked-ends',
  'failed', 'members', 'guard', 'cancelled', 'cancelling', 'results', 'results-until', 'awaited'}
-- Looked for at once, so that large records do not fill the memory of the server.
local AT_ONCE = 20
local q = named(NAMES, 0)
local now, now_up = now_ms(ARGV[1])
local most_bytes = tonumber(ARGV[3])
local known = {}
for i = 1, tonumber(ARGV[4]) do
  known[i] = ARGV[4 + i]
end
local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
local running, members = keys_of_members(q, known, #NAMES)
if not running then
  return {'KEYS', members}
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
local function take_back(id, record, due, held, parked)
  if due then
    call('ZREM', q.future, id)
    call('SREM', q.retrying, id)
    return
  elseif held then
    return drop_from(q.held, q['held-ends'], id, held)
  elseif parked then
    return drop_from(q.parked, q['parked-ends'], id, parked)
  end
  if call('SADD', q.cancelled, id) == 0 then
    -- Its id is a gap already, from an earlier cancel. Behind that one it is taken out.
    call('LREM', q.ready, -1, id)
  end
  local task = next(limits) and call('SISMEMBER', q.brought, id) == 1 and task_of(record)
  local limit = task and limit_of(q, limits, task)
  if limit then
    -- A slot may be free for it, and is for the next one now.
    bring_back(q, limit, 1)
    came_back = true
  end
end

-- Answers for some ids; whether there is room for more in the reply. What is read of them at once
-- does not change by what is done to the others, but for held jobs that come to the front.
local function cancel_some(ids)
  local records, attempts = fields_of(q.jobs, ids), fields_of(q.attempts, ids)
  local failed, due = call('ZMSCORE', q.failed, unpack(ids)), call('ZMSCORE', q.future, unpack(ids))
  local held, parked = fields_of(q.held, ids), fields_of(q.parked, ids)
  local member_of = members_of(running, ids, records, failed, due, held, parked)
  local gone, ends, full = {}, {}, false
  for i = 1, #ids do
    local id, record = ids[i], not gone[ids[i]] and records[i]
    local letter, answered, retries = 'U', '', 0
    if record and failed[i] then
      letter = 'F'
    elseif record and member_of[i] then
      letter, requested = 'R', true
      call('HSET', q.cancelling, id, member_of[i])
    elseif record then
      if bytes > 0 and bytes + #record > most_bytes then
        full = true
        break
      end
      letter, answered, bytes = 'C', record, bytes + #record
      retries = attempts_of(attempts[i])
      take_back(id, record, due[i], held[i] and call('HGET', q.held, id), parked[i])
      gone[id] = true
      gone[#gone + 1] = id
      local keep_ms = keep_ms_of(record)
      if keep_ms then
        ends[#ends + 1] = {id, 'C', keep_ms}
      end
    end
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = letter, answered, retries
  end
  many('HDEL', q.jobs, gone)
  many('HDEL', q.attempts, gone)
  keep_ends(q, now, now_up, ends)
  return not full
end

for first = 5 + #known, #ARGV, AT_ONCE do
  if not cancel_some({unpack(ARGV, first, math.min(#ARGV, first + AT_ONCE - 1))}) then
    break
  end
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
