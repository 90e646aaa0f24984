-- Forgets jobs of one status, a bounded number a call, the first ones first.
--
-- KEYS
--   version       string  schema of the queue
--   jobs          hash    stored id -> record
--   ready         list    stored ids
--   future        zset    stored id -> due
--   retrying      set     those ids of `future` that wait for a retry
--   attempts      hash    stored id -> `<retries>,<losses>,<direct-only>`
--   timekeeper, marker, paused   for the wake-up, see wake.lua
--   failed        zset    stored id -> instant
--   errors        hash    stored id -> reason
--   failed-bytes  string  size of records and reasons of the failed
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   parked, parked-ends          hash, hash: the lane of each park, see lanes.lua
--   flow          hash    see flow.lua
--   cancelled     set     see gaps.lua
--   guard         hash    the bounds in force, see retention.lua
-- ARGV
--   1 clock offset, ms   2 schema   3 `queued`, `waiting` or `failed`   4 most jobs; see MOST
-- Reply
--   {'APPLIED', jobs that were forgotten, 1 if there are more}
--   {'VERSION', schema found}
local NAMES = {'version', 'jobs', 'ready', 'future', 'retrying', 'attempts', 'timekeeper', 'marker',
  'paused', 'failed', 'errors', 'failed-bytes', 'limits', 'declared', 'slots', 'held', 'held-ends',
  'brought', 'parked', 'parked-ends', 'flow', 'cancelled', 'guard'}
-- Jobs that one call forgets at most, whatever it was asked: so it takes a few ms.
local MOST, LANES = 500, 100
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local status, left = ARGV[3], math.min(MOST, tonumber(ARGV[4]))

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
admit_when_full(q.ready)
local removed = 0

-- Forgets the jobs of these ids, which were taken out of their place.
local function forget(ids)
  if #ids > 0 then
    removed = removed + call('HDEL', q.jobs, unpack(ids))
    call('HDEL', q.attempts, unpack(ids))
  end
end

-- The same for the lanes of one place, some at a time.
local function forget_lanes(entries, ends, after)
  local names = call('HRANDFIELD', ends, LANES)
  for i = 1, #names do
    if left <= 0 then
      return
    end
    local lane = lane_of(entries, ends, names[i])
    local ids, numbers = head_of(lane, left)
    drop_head(lane, ids, numbers, #ids)
    left = left - #ids
    forget(ids)
    if after then
      after(names[i])
    end
  end
end

-- How many of these ready jobs had come to the front for a slot, by task.
local function brought_of(ids)
  local counts, brought = {}, call('SMISMEMBER', q.brought, unpack(ids))
  for i = 1, #ids do
    local task = brought[i] == 1 and task_of(call('HGET', q.jobs, ids[i]))
    if task then
      counts[task] = (counts[task] or 0) + 1
    end
  end
  return counts
end

-- The first jobs of `ready`, taken off it, and how many of them had a slot, by task. Gaps are no
-- jobs, but were looked at.
local function take_ready(limited)
  local ids = call('LPOP', q.ready, left) or {}
  left = left - #ids
  if #ids == 0 then
    return ids, {}
  end
  local brought = limited and brought_of(ids) or {}
  call('SREM', q.brought, unpack(ids))
  if call('EXISTS', q.cancelled) == 0 then
    return ids, brought
  end
  local flags, jobs = gaps_among(q, ids), {}
  for i = 1, #ids do
    if flags[i] == 0 then
      jobs[#jobs + 1] = ids[i]
    end
  end
  pass_gaps(q, ids, #ids)
  return jobs, brought
end

local more
if status == 'queued' then
  local limits = limits_of(q)
  local ids, brought = take_ready(next(limits))
  forget(ids)
  close_up(q)
  forget_lanes(q.held, q['held-ends'], function(task)
    local limit = limit_of(q, limits, task)
    if limit and not limit.n then
      fill_slots(q, limit)
    end
  end)
  for task, count in pairs(brought) do
    local limit = limit_of(q, limits, task)
    if limit then
      -- A slot may be free for them, and is for the next ones now.
      bring_back(q, limit, count)
    end
  end
  forget_lanes(q.parked, q['parked-ends'])
  more = call('EXISTS', q.ready, q['held-ends'], q['parked-ends']) > 0
elseif status == 'waiting' then
  local ids = call('ZRANGE', q.future, 0, left - 1)
  many('ZREM', q.future, ids)
  many('SREM', q.retrying, ids)
  forget(ids)
  more = call('EXISTS', q.future) > 0
else
  -- Those that are too old are as good as gone, and would be removed in the place of others.
  local bounds = bounds_in_force(q)
  local oldest = bounds and string.format('%.0f', now - bounds[2]) or '-inf'
  forget(take_out(q, call('ZRANGEBYSCORE', q.failed, oldest, '+inf', 'LIMIT', 0, left)))
  more = call('ZCOUNT', q.failed, oldest, '+inf') > 0
end
if status ~= 'failed' and removed > 0 then
  -- They did not end, so they do not count for the rate at which jobs do.
  call('HINCRBY', q.flow, 'purged', removed)
end
wake(q, now)
return {'APPLIED', removed, more and 1 or 0}
