-- Gaps in `ready`: ids of jobs that were cancelled there. To take one out of a list would cost the
-- more, the longer it is. `cancelled` has the ids that are gaps. The first of the list is none,
-- unless there are more in a row than one call passes over: so where it is not empty there is a
-- job to take.

-- Most gaps that one call passes over, and how many of them are left to this one.
local MOST_GAPS = 5000
local gaps_left = MOST_GAPS

-- Drops the gaps at the head of `ready`; returns how many there are still.
local function close_up(q)
  local gaps, most = call('SCARD', q.cancelled), 1
  while gaps > 0 and gaps_left > 0 do
    -- One first: mostly there is a job.
    local head = call('LRANGE', q.ready, 0, math.min(most, gaps_left) - 1)
    most = PORTION
    if #head == 0 then
      -- The server forgot where they were.
      call('DEL', q.cancelled)
      return 0
    end
    local flags, run = call('SMISMEMBER', q.cancelled, unpack(head)), 0
    while flags[run + 1] == 1 do
      run = run + 1
    end
    if run == 0 then
      break
    end
    call('LTRIM', q.ready, run, -1)
    call('SREM', q.cancelled, unpack(head, 1, run))
    call('SREM', q.brought, unpack(head, 1, run))
    gaps, gaps_left = gaps - run, gaps_left - run
    if run < #head then
      break
    end
  end
  return gaps
end
