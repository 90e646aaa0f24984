-- Memberships: their numbers, and when a member may be declared dead (I11).

-- As in spinach.const, which says why.
local NAMING_MS = 12000
local STEP_MS = 1000

-- Why a sequenced call must not be carried out; nil when it may, and then its number
-- is taken.
local function refusal(q, member, number)
  local last = call('HGET', q.seq, member)
  if not last then
    return 'FENCED'
  end
  if number <= tonumber(last) then
    return 'STALE'
  end
  call('HSET', q.seq, member, number)
  return nil
end

-- The lease that a member joined with, in ms; nil when that is not known.
local function lease_of(q, member)
  return tonumber(string.match(call('HGET', q.info, member) or '', '^%d+'))
end

-- Notes that a member lives. When none did for half a lease, or the clock was set back, the
-- server was away rather than its members: none is declared dead before the instant returned,
-- and no lease lasts longer than one that starts now. Time servers set a clock back by up to a
-- second all day, which harms no lease. `lease` is the longest one.
local function step(q, now)
  local guard = call('HMGET', q.guard, 'seen', 'until', 'lease', 'cancelling', 'progress')
  -- For leased.lua.
  q.has_cancelling, q.has_progress = guard[4], guard[5]
  local seen, pause = tonumber(guard[1]), tonumber(guard[2] or 0)
  local lease = tonumber(guard[3])
  if not seen or not lease then
    call('HSET', q.guard, 'seen', now)
    return pause
  end
  if now >= seen - STEP_MS and now - seen <= lease / 2 then
    if math.abs(now - seen) >= STEP_MS then
      call('HSET', q.guard, 'seen', now)
    end
    return pause
  end
  pause = now + lease
  call('HSET', q.guard, 'seen', now, 'until', pause)
  local alive = call('ZRANGEBYSCORE', q.members, now, '+inf', 'WITHSCORES')
  for i = 1, #alive, 2 do
    local own = lease_of(q, alive[i]) or lease
    if tonumber(alive[i + 1]) > now + own then
      call('ZADD', q.members, now + own, alive[i])
    end
  end
  return pause
end

-- Whether a member may be declared dead, or already is.
local function condemned(q, member, now, pause)
  local ends = tonumber(call('ZSCORE', q.members, member))
  if not ends then
    return false
  end
  return call('HEXISTS', q.seq, member) == 0 or (ends < now and now >= pause)
end

-- Keeps a dead member from being named for a while: one process recovers it at a time.
local function claim(q, member, now)
  call('HSET', q.guard, 'named:' .. member, now + NAMING_MS)
end

-- A member for the caller to recover, or false. The one named longest ago comes first, so
-- that one whose recovery fails does not keep the others waiting.
local function name_dead(q, caller, now, pause)
  local dead, named = false, nil
  local over = call('ZRANGEBYSCORE', q.members, '-inf', '(' .. string.format('%.0f', now),
    'LIMIT', 0, 10)
  for i = 1, #over do
    if over[i] ~= caller then
      local ends = tonumber(call('HGET', q.guard, 'named:' .. over[i]) or 0)
      if ends > now + NAMING_MS then
        -- Claimed before the clock was set back.
        ends = 0
      end
      if ends <= now and (not dead or ends < named) and condemned(q, over[i], now, pause) then
        dead, named = over[i], ends
      end
    end
  end
  if dead then
    claim(q, dead, now)
  end
  return dead
end
