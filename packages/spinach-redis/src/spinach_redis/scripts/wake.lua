-- Wake-up and the timekeeper.
--
-- The marker is a sorted set of one member, since BZPOPMIN takes it away from one
-- waiting process at a time. It is there while jobs are takeable, and while jobs wait
-- for their instant without anybody who knows the first one.

local TIMEKEEPER_MS = 6000
local RENEW_MS = 500

local function mark(q)
  call('ZADD', q.marker, 0, '1')
end

-- Makes the marker tell the truth; last in every script that takes jobs or may
-- leave some without a taker.
local function wake(q, now)
  local takeable = call('LLEN', q.ready) > 0 and call('EXISTS', q.paused) == 0
  if takeable or (call('EXISTS', q.future) == 1
      and not claim_of(call('GET', q.timekeeper), now, TIMEKEEPER_MS)) then
    mark(q)
  else
    call('DEL', q.marker)
  end
end

-- After jobs were added to `ready`.
local function announce(q)
  if call('EXISTS', q.paused) == 0 then
    mark(q)
  end
end

-- Whether `member` keeps the time of the queue from now on.
local function keeps_time(q, member, now)
  local holder, ends = claim_of(call('GET', q.timekeeper), now, TIMEKEEPER_MS)
  if holder and holder ~= member then
    return false
  end
  if not holder or ends - now < TIMEKEEPER_MS - RENEW_MS then
    call('SET', q.timekeeper, claim_text(member, now + TIMEKEEPER_MS))
  end
  return true
end

-- Ms until the first waiting job is due, 0 when it is overdue; false without one.
local function next_due(q, now)
  local first = call('ZRANGE', q.future, 0, 0, 'WITHSCORES')
  if not first[1] then
    return false
  end
  return math.max(0, tonumber(first[2]) - now)
end

-- Adds {due, id, ...} to `future`. A new earliest instant is news that the
-- timekeeper has not heard: whoever takes the marker becomes the new one.
local function postpone(q, pairs_)
  if #pairs_ == 0 then
    return
  end
  local earliest = tonumber(pairs_[1])
  for i = 3, #pairs_, 2 do
    earliest = math.min(earliest, tonumber(pairs_[i]))
  end
  local first = call('ZRANGE', q.future, 0, 0, 'WITHSCORES')
  many('ZADD', q.future, pairs_)
  if not first[1] or earliest < tonumber(first[2]) then
    call('DEL', q.timekeeper)
    mark(q)
  end
end
