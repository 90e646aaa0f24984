-- Periodic tasks that an operator paused (I15). In `periodic` such a task is due NEVER, so that
-- nothing is asked of the others; `periodic-paused` has the instant at which it was due. Workers
-- look at it at the instants of its grid all the same: so they learn that it goes on.

local NEVER = 2 ^ 53

-- The first instant of a grid that is after now; `from` is one of them.
local function next_on_grid(from, interval, now)
  if from > now then
    return from
  end
  return from + (math.floor((now - from) / interval) + 1) * interval
end

-- When a process has to look at a task that is due at `due`.
local function look_at(q, task, due, interval, now)
  if due ~= NEVER or not interval then
    return due
  end
  local from = tonumber(call('HGET', q['periodic-paused'], task))
  -- Where the clock was set back the grid lies far ahead.
  return math.min(from and next_on_grid(from, interval, now) or NEVER, now + interval)
end
