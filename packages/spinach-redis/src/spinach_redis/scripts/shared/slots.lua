-- Limits of tasks (I10), in keys that all tasks of a queue share.
--
-- `limits` names every task that has a limit, with the limit that an operator set, the override,
-- or ''. `declared` has `<task>|<limit>|<member>` for each limit that a member declares, the limit
-- with leading zeros. `slots` has `<task>|<stored id>` for each slot that a leased job occupies.
-- All scores of these two sorted sets are 0, so that their members are in the order of their
-- bytes: those of a task stand together, its lowest limit first.
--
-- A job that finds no slot is held: it waits in the lane of its task in `held`. `brought` has
-- the jobs that are back in `ready`, after they were held or released: their place is before
-- the others.

local MOVES = 500

-- The members that begin with `<task>|`, as a range: no name has a `|`, and `}` comes next.
local function range_of(task)
  return '[' .. task .. '|', '(' .. task .. '}'
end

-- The limit in force; nil when no member limits the task any more. A member's limit goes
-- with the member. That a lease is over does not lift it: after an outage all are.
local function in_force(q, task, override)
  local number = tonumber(override)
  if not number then
    local from, to = range_of(task)
    local lowest = call('ZRANGEBYLEX', q.declared, from, to, 'LIMIT', 0, 1)[1]
    number = lowest and tonumber(string.match(lowest, '|(%d+)|'))
  end
  return number or nil
end

-- The limited tasks of the queue, by name; `limit_of` tells their limits.
local function limits_of(q)
  local index, limits = call('HGETALL', q.limits), {}
  for i = 1, #index, 2 do
    limits[index[i]] = {task = index[i], override = index[i + 1]}
  end
  return limits
end

-- A limited task with its limit in force, `n`, which is read once; nil where it has none.
local function limit_of(q, limits, task)
  local limit = limits[task]
  if limit and not limit.read then
    limit.read, limit.n = true, in_force(q, task, limit.override)
  end
  return limit
end

-- How many slots of a task are occupied.
local function occupied(q, task)
  return call('ZLEXCOUNT', q.slots, range_of(task))
end

local function held_lane(q, task)
  return lane_of(q.held, q['held-ends'], task)
end

-- How many jobs at the head of `ready` were brought back before.
local function brought_before(q)
  for at = 0, call('SCARD', q.brought), 100 do
    local head = call('LRANGE', q.ready, at, at + 99)
    local brought = #head > 0 and call('SMISMEMBER', q.brought, unpack(head)) or {}
    for i = 1, #head do
      if brought[i] == 0 then
        return at + i - 1
      end
    end
    if #head < 100 then
      return at + #head
    end
  end
  return 0
end

-- Brings the first `most` held jobs back to the front, as far as slots are free for them. They
-- queue up behind those brought back before, each of which would else be pushed back by the
-- next one for as long as few threads are idle. Returns how many are held still.
local function bring_back(q, limit, most)
  local lane = held_lane(q, limit.task)
  local count = math.min(most, length_of(lane))
  if limit.n and count > 0 then
    count = math.min(count, limit.n - occupied(q, limit.task))
  end
  if count > 0 then
    local ids, numbers = head_of(lane, count)
    drop_head(lane, ids, numbers, #ids)
    local place = brought_before(q)
    local before = place > 0 and call('LPOP', q.ready, place) or {}
    to_front(q.ready, ids)
    to_front(q.ready, before)
    many('SADD', q.brought, ids)
  end
  return length_of(lane)
end

-- Brings back the held jobs that have a slot, MOVES at most: the next fetches do the rest.
-- Forgets a task whose limit is gone when nothing is left of it.
local function fill_slots(q, limit)
  local held = bring_back(q, limit, limit.n and MOVES or MOVES - call('SCARD', q.brought))
  if not limit.n and held == 0 and occupied(q, limit.task) == 0 then
    call('HDEL', q.limits, limit.task)
    -- Without a limit it is not looked at, and would grow for ever.
    if call('EXISTS', q.limits) == 0 then
      call('DEL', q.brought)
    end
  end
end

-- The leases of some jobs of a task ended.
local function free_slots(q, limit, ids)
  local freed, slots = 0, {}
  for i = 1, #ids do
    slots[i] = limit.task .. '|' .. ids[i]
  end
  for i = 1, #slots, PORTION do
    freed = freed + call('ZREM', q.slots, unpack(slots, i, math.min(i + PORTION - 1, #slots)))
  end
  if freed == 0 then
    return
  end
  if limit.n then
    bring_back(q, limit, freed)
  else
    fill_slots(q, limit)
  end
end
