-- Gaps in `ready`: ids of jobs that were cancelled there. To take one out of a list would cost the
-- more, the longer it is. `cancelled` has the ids that are gaps. The first of the list is none,
-- unless there are more in a row than one call passes over: so where it is not empty there is a
-- job to take, or another call has to look.

-- Most gaps that one call passes over, whatever its queues and lines; it takes a few ms.
local MOST_GAPS = 500
local gaps_passed = 0

-- Of each of some ids, the first ones of `ready`, whether it is a gap: 1 or 0. An id stands there
-- twice where a job was stored again after its cancel. Then the first of the two is the gap.
local function gaps_among(q, ids)
  local flags, seen = call('SMISMEMBER', q.cancelled, unpack(ids)), {}
  for i = 1, #ids do
    if flags[i] == 1 then
      flags[i] = seen[ids[i]] and 0 or 1
      seen[ids[i]] = true
    end
  end
  return flags
end

-- Forgets the first `count` of some ids that were taken off the head of `ready`.
local function pass_gaps(q, ids, count)
  gaps_passed = gaps_passed + call('SREM', q.cancelled, unpack(ids, 1, count))
end

-- Drops the gaps at the head of `ready`, as far as the call may; returns how many are left.
local function close_up(q)
  local gaps, first = call('SCARD', q.cancelled), true
  while gaps > 0 and gaps_passed < MOST_GAPS do
    -- One first: mostly there is a job.
    local head = call('LRANGE', q.ready, 0, first and 0 or MOST_GAPS - gaps_passed - 1)
    if #head == 0 then
      -- The server forgot where they were.
      call('DEL', q.cancelled)
      return 0
    end
    local flags, run = gaps_among(q, head), 0
    while flags[run + 1] == 1 do
      run = run + 1
    end
    if run == 0 then
      break
    end
    call('LTRIM', q.ready, run, -1)
    pass_gaps(q, head, run)
    if call('EXISTS', q.brought) == 1 then
      call('SREM', q.brought, unpack(head, 1, run))
    end
    gaps, first = gaps - run, false
    if run < #head then
      break
    end
  end
  return gaps
end
