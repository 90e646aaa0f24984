-- Memberships: their numbers, and who may be declared dead.

local NAMING_MS = 5000
local STEP_MS = 1000

-- Why a sequenced call must not be carried out, or nil.
local function refusal(q, member, number)
  local last = call('HGET', q.seq, member)
  if not last then
    return 'FENCED'
  end
  if number <= tonumber(last) then
    return 'STALE'
  end
  return nil
end

-- Notes that somebody lives. When nobody did for half a lease, or the clock was set
-- back, the server was away rather than its members: nobody is declared dead before
-- the instant returned, and no lease lasts longer than it would from now on (I11).
-- A second of going back is what time servers do all day, and harms no lease.
local function step(q, now, lease)
  local guard = call('HMGET', q.guard, 'seen', 'until')
  local seen, pause = tonumber(guard[1] or nil), tonumber(guard[2] or 0)
  if not seen then
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
  local later = call('ZRANGEBYSCORE', q.members, '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
  for i = 1, #later, 2 do
    local own = tonumber(string.match(call('HGET', q.info, later[i]) or '', '^%d+')) or lease
    if tonumber(later[i + 1]) > now + own then
      call('ZADD', q.members, now + own, later[i])
    end
  end
  return pause
end

-- A member to recover that no other caller was told lately, or false.
local function name_dead(q, caller, now, pause)
  if now < pause then
    return false
  end
  local dead = call('ZRANGEBYSCORE', q.members, '-inf', now, 'LIMIT', 0, 10)
  for i = 1, #dead do
    if dead[i] ~= caller then
      local field = 'named:' .. dead[i]
      local told = claim_of(call('HGET', q.guard, field), now, NAMING_MS)
      if not told or told == caller then
        call('HSET', q.guard, field, claim_text(caller, now + NAMING_MS))
        return dead[i]
      end
    end
  end
  return false
end
