-- Limits of tasks (I10). `limits` names every task that has one, with the operator's
-- override or ''. A slot is taken at fetch, or handed with a held job that moves to
-- the front, so that no later job of the task can take it on the way.

local MOVES = 100

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

-- The limited tasks of the queue, by name, and those whose keys the caller did not
-- declare. `n` is the limit in force; nil while only old slots and held jobs are left.
local function limits_of(q, declared)
  local index = call('HGETALL', q.limits)
  local limits, missing = {}, {}
  for i = 1, #index, 2 do
    local limit = declared[index[i]]
    if limit then
      -- Entries go when their member leaves or is recovered. A lease that is over
      -- does not lift the limit: after an outage that would be every lease.
      limit.n = tonumber(index[i + 1])
        or tonumber(call('ZRANGE', limit.limit, 0, 0, 'WITHSCORES')[2])
      limits[index[i]] = limit
    else
      missing[#missing + 1] = index[i]
    end
  end
  return limits, missing
end

-- Moves held jobs to the front as far as slots are free, a bounded number; forgets
-- a task whose limit is gone when nothing is left of it.
local function settle(q, task, limit)
  if call('LLEN', limit.held) == 0 then
    if not limit.n and call('SCARD', limit.slots) == 0 then
      call('HDEL', q.limits, task)
    end
    return
  end
  local free = MOVES
  if limit.n then
    free = math.min(MOVES, limit.n - call('SCARD', limit.slots))
  end
  if free <= 0 then
    return
  end
  local ids = call('LPOP', limit.held, free)
  if limit.n then
    call('SADD', limit.slots, unpack(ids))
  end
  to_front(q.ready, ids)
end

-- Removes the declarations of a member that is gone.
local function undeclare(q, limits, member)
  for task, limit in pairs(limits) do
    call('ZREM', limit.limit, member)
    local index = call('HGET', q.limits, task)
    limit.n = tonumber(index) or tonumber(call('ZRANGE', limit.limit, 0, 0, 'WITHSCORES')[2])
    settle(q, task, limit)
  end
end
