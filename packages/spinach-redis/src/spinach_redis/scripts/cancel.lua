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
--   result:<id>          list  of each id, in order
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
local answer, bytes, requested = {}, 0, false
-- Of limited tasks of which jobs were cancelled: how many held ones may come in their place. That
-- they come is the last thing that is done, since until then nothing moves that was read.
local successors = {}

local function note_successors(record, number)
  local task = next(limits) and task_of(record)
  if task and limits[task] then
    successors[task] = (successors[task] or 0) + number
  end
end

-- Takes a job out of the place where it waits.
local function take_back(id, record, due, held, parked)
  if due then
    call('ZREM', q.future, id)
    call('SREM', q.retrying, id)
  elseif held then
    drop_from(q.held, q['held-ends'], id, held)
    note_successors(record, 0)
  elseif parked then
    drop_from(q.parked, q['parked-ends'], id, parked)
  else
    if call('SADD', q.cancelled, id) == 0 then
      -- Its id is a gap already, from an earlier cancel. Behind that one it is taken out.
      call('LREM', q.ready, -1, id)
    end
    if next(limits) and call('SISMEMBER', q.brought, id) == 1 then
      -- A slot may be free for it, and is for the next one now.
      note_successors(record, 1)
    end
  end
end

-- Answers for some ids, each with its list; whether there is room for more in the reply. What is
-- read of them at once does not change by what is done to the others, but for lanes, of which only
-- the numbers are read.
local function cancel_some(ids, lists)
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
      take_back(id, record, due[i], held[i], parked[i])
      gone[id] = true
      gone[#gone + 1] = id
      local keep_ms = keep_ms_of(record)
      if keep_ms then
        ends[#ends + 1] = {id, 'C', keep_ms, lists[i]}
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

local before_ids, before_lists = 4 + #known, #NAMES + #known
for first = 1, #ARGV - before_ids, AT_ONCE do
  local last = math.min(#ARGV - before_ids, first + AT_ONCE - 1)
  local ids = {unpack(ARGV, before_ids + first, before_ids + last)}
  if not cancel_some(ids, {unpack(KEYS, before_lists + first, before_lists + last)}) then
    break
  end
end
if requested then
  note_number(q, 'cancelling')
end
for task, number in pairs(successors) do
  local limit = limit_of(q, limits, task)
  if limit.n then
    bring_back(q, limit, number)
  else
    -- It goes with the last of its jobs.
    fill_slots(q, limit)
  end
end
close_up(q)
if call('EXISTS', q.ready) == 1 then
  if next(successors) then
    announce(q)
  end
elseif call('EXISTS', q.future) == 0 or timekeeper(q, now) then
  call('DEL', q.marker)
end
return {'APPLIED', answer}
