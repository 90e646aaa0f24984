-- Limits of tasks (I10). `limits` names every task that has one, with the operator's
-- override or ''; a task's slots are its leased jobs. `brought` has the jobs that are
-- back in `ready`, after they were held or given back: their place is before the others.

local MOVES = 500

-- Reads `<count> <task>...` from ARGV at `a`; three keys a task follow KEYS[k].
-- Returns the tasks with their keys, and the next positions.
local function declared_limits(a, k)
  local declared = {}
  local count = tonumber(ARGV[a])
  for i = 1, count do
    declared[ARGV[a + i]] = {slots = KEYS[k + 1], held = KEYS[k + 2], limit = KEYS[k + 3]}
    k = k + 3
  end
  return declared, a + count + 1, k
end

-- The limit in force; nil when nobody limits the task any more. A member's limit goes
-- with the member. That a lease is over does not lift it: after an outage all are.
local function in_force(limit, override)
  return tonumber(override) or tonumber(call('ZRANGE', limit.limit, 0, 0, 'WITHSCORES')[2])
end

-- The limited tasks of the queue, by name, and the names of those whose keys the
-- caller did not declare.
local function limits_of(q, declared)
  local index = call('HGETALL', q.limits)
  local limits, missing = {}, {}
  for i = 1, #index, 2 do
    local limit = declared[index[i]]
    if limit then
      limit.n = in_force(limit, index[i + 1])
      limits[index[i]] = limit
    else
      missing[#missing + 1] = index[i]
    end
  end
  return limits, missing
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

-- Brings `count` held jobs back to the front. They queue up behind those brought back
-- before, each of which would else be pushed back by the next one for as long as few
-- threads are idle.
local function bring_back(q, limit, count)
  if count <= 0 or call('LLEN', limit.held) == 0 then
    return
  end
  local ids = call('LPOP', limit.held, count)
  local place = brought_before(q)
  local before = place > 0 and call('LPOP', q.ready, place) or {}
  to_front(q.ready, ids)
  to_front(q.ready, before)
  many('SADD', q.brought, ids)
end

-- Brings back the held jobs that have a slot, MOVES at most: `catch_up` does the rest.
-- Forgets a task whose limit is gone when nothing is left of it.
local function settle(q, task, limit)
  if limit.n then
    bring_back(q, limit, math.min(MOVES, limit.n - call('SCARD', limit.slots)))
  else
    bring_back(q, limit, MOVES - call('SCARD', q.brought))
  end
  if not limit.n and call('LLEN', limit.held) == 0 and call('SCARD', limit.slots) == 0 then
    call('HDEL', q.limits, task)
    -- Without a limit nobody looks at it, and it would grow for ever.
    if call('EXISTS', q.limits) == 0 then
      call('DEL', q.brought)
    end
  end
end

-- Slots are free and jobs held only where a limit ended or rose by more than MOVES, and
-- what was brought back is taken: else each free slot has its job on the way.
local function catch_up(q, limits)
  for task, limit in pairs(limits) do
    if call('LLEN', limit.held) > 0 and call('SCARD', q.brought) <= (limit.n and 0 or MOVES / 2) then
      settle(q, task, limit)
    end
  end
end

-- The leases of some jobs of a task ended.
local function free_slots(q, task, limit, ids)
  local freed = 0
  for i = 1, #ids, PORTION do
    freed = freed + call('SREM', limit.slots, unpack(ids, i, math.min(i + PORTION - 1, #ids)))
  end
  if freed == 0 then
    return
  end
  if limit.n then
    bring_back(q, limit, math.min(freed, limit.n - call('SCARD', limit.slots)))
  else
    settle(q, task, limit)
  end
end

-- Forgets what a member declared.
local function withdraw(q, limits, member)
  for task, limit in pairs(limits) do
    if call('ZREM', limit.limit, member) == 1 then
      limit.n = in_force(limit, call('HGET', q.limits, task))
      settle(q, task, limit)
    end
  end
end
