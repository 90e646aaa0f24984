-- Gaps in `ready`: ids of jobs that were cancelled there. To take one out of a list would cost the
-- more, the longer it is. `cancelled` has the ids that are gaps. The first of the list is none,
-- unless there are more in a row than one call passes over: so where it is not empty there is a
-- job to take.

-- Most gaps that one call passes over.
local MOST_GAPS = 10000

-- Drops the gaps at the head of `ready`; returns how many are left.
local function close_up(q)
  local gaps, passed = call('SCARD', q.cancelled), 0
  while gaps > 0 and passed < MOST_GAPS do
    -- One first: mostly there is a job.
    local head = call('LRANGE', q.ready, 0, passed > 0 and PORTION - 1 or 0)
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
    gaps, passed = gaps - run, passed + run
    if run < #head then
      break
    end
  end
  return gaps
end
