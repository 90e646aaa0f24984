-- Waiting jobs, the timekeeper and the wake-up.
--
-- The marker is a sorted set of one member, since BZPOPMIN takes it away from one
-- waiting process at a time. It is there while jobs are takeable, and while jobs wait
-- for their instant and no member knows the first one (I14).

local TIMEKEEPER_MS = 6000
local RENEW_MS = 500

-- Jobs of one instant keep their order: their scores differ by this part of a ms, which
-- a score of this century holds exactly. Jobs beyond SAME_INSTANT of one ms do not.
local SAME_INSTANT = 2048

-- The member that keeps the time, and until when; nil when none does. An office that ends
-- later than any can was taken before the server's clock was set back.
local function timekeeper(q, now)
  local text = call('GET', q.timekeeper)
  if not text then
    return nil
  end
  local ends, member = string.match(text, '^(%d+) (.*)$')
  ends = tonumber(ends)
  if ends <= now or ends > now + TIMEKEEPER_MS then
    return nil
  end
  return member, ends
end

-- Whether `member` keeps the time from now on.
local function keeps_time(q, member, now)
  local holder, ends = timekeeper(q, now)
  if holder and holder ~= member then
    return false
  end
  if not holder or ends - now < TIMEKEEPER_MS - RENEW_MS then
    call('SET', q.timekeeper, string.format('%.0f %s', now + TIMEKEEPER_MS, member))
  end
  return true
end

-- Also from an office that is over, or that was taken before the clock was set back: it could
-- be in force again, and no living member would keep the time.
local function resign(q, member)
  if string.match(call('GET', q.timekeeper) or '', '^%d+ (.*)$') == member then
    call('DEL', q.timekeeper)
  end
end

-- Sets the marker or takes it away, by what is there. It comes last in every script that takes
-- jobs or may leave some without a taker. A fetch, after which a member keeps the time, has a
-- shorter way of its own.
local function wake(q, now)
  if (call('LLEN', q.ready) > 0 and call('EXISTS', q.paused) == 0)
      or (call('EXISTS', q.future) == 1 and not timekeeper(q, now)) then
    call('ZADD', q.marker, 0, '1')
  else
    call('DEL', q.marker)
  end
end

-- After jobs were added to `ready`; nothing to do where the marker is there.
local function announce(q)
  if call('EXISTS', q.paused, q.marker) == 0 then
    call('ZADD', q.marker, 0, '1')
  end
end

-- Us until the first waiting job is due, 0 when it is overdue; false without one.
local function next_due(q, now_us)
  local first = call('ZRANGE', q.future, 0, 0, 'WITHSCORES')
  if not first[1] then
    return false
  end
  return until_us(math.floor(tonumber(first[2])), now_us)
end

-- Lets jobs wait; `entries` is {due, id, ...}. The timekeeper does not know a new earliest
-- instant. So there is none any more: the process that takes the marker becomes the next one.
local function postpone(q, entries)
  if #entries == 0 then
    return
  end
  local first = call('ZRANGE', q.future, 0, 0, 'WITHSCORES')
  local before = first[1] and math.floor(tonumber(first[2]))
  local earliest, last = entries[1], {}
  for i = 1, #entries, 2 do
    local due = entries[i]
    earliest = math.min(earliest, due)
    local score = last[due]
    if not score then
      local latest = call('ZREVRANGEBYSCORE', q.future, string.format('(%.0f', due + 1),
        string.format('%.0f', due), 'WITHSCORES', 'LIMIT', 0, 1)
      score = tonumber(latest[2]) or due - 1 / SAME_INSTANT
    end
    score = math.min(score + 1 / SAME_INSTANT, due + 1 - 1 / SAME_INSTANT)
    last[due] = score
    entries[i] = string.format('%.17g', score)
  end
  many('ZADD', q.future, entries)
  if not before or earliest < before then
    call('DEL', q.timekeeper)
    call('ZADD', q.marker, 0, '1')
  end
end
