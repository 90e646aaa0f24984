-- Leases jobs to the memberships of one process, in strict order of its queues.
--
-- KEYS, for each turn in order
--   jobs        hash    stored id -> record
--   ready       list    stored ids
--   future      zset    stored id -> due
--   attempts    hash    stored id -> `<retries>,<losses>,<direct-only>`
--   members     zset    member -> end of its lease
--   seq         hash    member -> last number
--   info        hash    member -> `<lease, ms> ...`
--   guard       hash    see members.lua
--   leases      string  counter, makes tokens
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   parked, parked-ends         hash, hash: the lane of each park, see lanes.lua
--   cancelled   set     see gaps.lua
--   timekeeper  string  see wake.lua
--   marker      zset    wake-up
--   paused      string  nothing is taken while it exists
--   running:<member>    hash  stored id -> token
-- ARGV
--   1 clock offset, ms   2 idle   3 extra   4 most bytes
--   5 jobs and 6 bytes that earlier calls for the same threads have taken
--   7 count of turns
--   for each turn: member, number, count of parks, the parks
-- Reply, for each turn
--   {'APPLIED', leases, more, parks, us until the next job is due or nil,
--    member to recover or nil, whether the queue is paused,
--    count of the member's leases, or nil where this fetch brings some}
--     leases: stored id, token, record, attempts or nil for each, in order; a token
--     is `d` (direct) or `b` (buffered), a number that grows, `@`, and now in ms
--   {'FENCED'} | {'STALE'}
local NAMES = {'jobs', 'ready', 'future', 'attempts', 'members', 'seq', 'info', 'guard', 'leases',
  'limits', 'declared', 'slots', 'held', 'held-ends', 'brought', 'parked', 'parked-ends',
  'cancelled', 'timekeeper', 'marker', 'paused'}
local MOST_HELD = 500
local PARKS_TOLD = 100
local LANES = 100
local PEEK, FIRST_PEEK = 100, 10

local now, _, now_us = now_ms(ARGV[1])
local idle = tonumber(ARGV[2])
local want = idle + tonumber(ARGV[3])
local most_bytes = tonumber(ARGV[4])

local turns, answers = {}, {}
local a, k = 8, 0
for i = 1, tonumber(ARGV[7]) do
  local q = named(NAMES, k)
  k = k + #NAMES + 1
  q.running = KEYS[k]
  q.member, q.number = ARGV[a], tonumber(ARGV[a + 1])
  -- Most queues have none of these, and one command tells.
  q.plain = call('EXISTS', q.limits, q.attempts, q.future, q['parked-ends'], q.cancelled,
    q.paused) == 0
  q.gaps = q.plain and 0 or call('SCARD', q.cancelled)
  q.limited = q.plain and {} or limits_of(q)
  q.parks = {}
  for j = 1, tonumber(ARGV[a + 2]) do
    q.parks[j] = lane_of(q.parked, q['parked-ends'], ARGV[a + 2 + j])
  end
  a = a + #q.parks + 3
  turns[i] = q
end

local taken, bytes, held_count = tonumber(ARGV[5]), tonumber(ARGV[6]), 0

-- How many jobs to look at: their records are read before it is known whether all
-- of them fit, and must not fill the memory of the server.
local function peek()
  local count = math.min(PEEK, want - taken)
  if taken == 0 then
    return math.min(count, FIRST_PEEK)
  end
  return math.max(1, math.min(count, math.floor((most_bytes - bytes) * taken / bytes) + 1))
end

-- Takes jobs from the head of a park, or of `ready` where there is none; whether that is known
-- to have emptied it. Of each lease: stored id, first character of the token, record, attempts
-- or false.
local function take(q, park, leases)
  local counted = not q.plain and call('EXISTS', q.attempts) == 1
  local limited = next(q.limited) ~= nil
  while taken < want do
    local count = math.max(peek(), limited and FIRST_PEEK or 0)
    local ids, numbers
    if park then
      ids, numbers = head_of(park, count)
    else
      ids = call('LRANGE', q.ready, 0, count - 1)
    end
    if #ids == 0 then
      if park then
        drop_head(park, ids, numbers, 0)
      end
      return true
    end
    local gaps = not park and q.gaps > 0 and gaps_among(q, ids) or {}
    local records = call('HMGET', q.jobs, unpack(ids))
    local attempts = counted and call('HMGET', q.attempts, unpack(ids)) or {}
    local passed, barred, slots = 0, false, {}
    for i = 1, #ids do
      local id, record, direct = ids[i], records[i], taken < idle
      if taken >= want then
        break
      end
      if record and gaps[i] ~= 1 then
        local task = limited and task_of(record)
        local limit = task and limit_of(q, q.limited, task)
        if limit and not limit.n then
          limit = nil
        end
        if not direct then
          local _, _, direct_only = attempts_of(attempts[i])
          if string.sub(id, 1, 1) == '0' or direct_only or limit then
            barred = true
            break
          end
        end
        if limit and not limit.first then
          limit.first, limit.last, limit.occupied = {}, {}, occupied(q, task)
        end
        if limit and limit.occupied >= limit.n then
          if held_count >= MOST_HELD then
            barred = true
            break
          end
          held_count = held_count + 1
          -- Before or behind those that are held already.
          local ids = call('SISMEMBER', q.brought, id) == 1 and limit.first or limit.last
          ids[#ids + 1] = id
        else
          if taken > 0 and bytes + #record > most_bytes then
            barred, want = true, taken
            break
          end
          taken, bytes = taken + 1, bytes + #record
          if limit then
            limit.occupied = limit.occupied + 1
            slots[#slots + 1], slots[#slots + 2] = 0, task .. '|' .. id
          end
          local n = #leases
          leases[n + 1], leases[n + 2], leases[n + 3] = id, direct and 'd' or 'b', record
          leases[n + 4] = attempts[i] or false
        end
      end
      passed = i
    end
    if passed > 0 then
      if park then
        drop_head(park, ids, numbers, passed)
      else
        call('LTRIM', q.ready, passed, -1)
        if q.gaps > 0 then
          pass_gaps(q, ids, passed)
          q.gaps = close_up(q)
        end
      end
      if limited then
        many('ZADD', q.slots, slots)
        call('SREM', q.brought, unpack(ids, 1, passed))
      end
    end
    if barred or (not park and gaps_passed >= MOST_GAPS) then
      return false
    end
    if #ids < count then
      return passed == #ids
    end
  end
  return false
end

-- Leases what the turn may have, and answers it as Redis wants it: a flat list.
local function lease(q)
  local leases = {}
  if taken >= want or q.is_paused then
    return leases
  end
  for i = 1, #q.parks do
    take(q, q.parks[i], leases)
  end
  q.emptied = take(q, nil, leases)
  for task, limit in pairs(q.limited) do
    if limit.first and #limit.first + #limit.last > 0 then
      local lane = held_lane(q, task)
      append(lane, limit.last)
      prepend(lane, limit.first)
    end
  end
  if #leases > 0 then
    local count, tokens = #leases / 4, {}
    local number, instant = call('INCRBY', q.leases, count) - count, string.format('@%.0f', now)
    for i = 1, count do
      local at = 4 * i - 3
      leases[at + 1] = string.format('%s%.0f%s', leases[at + 1], number + i, instant)
      tokens[2 * i - 1], tokens[2 * i] = leases[at], leases[at + 1]
    end
    many('HSET', q.running, tokens)
  end
  return leases
end

-- Brings back held jobs for which slots are free. There are such jobs only where a limit ended,
-- or rose by more than MOVES, and what was brought back is taken: otherwise each free slot has
-- its job on the way. Where many tasks have held jobs, LANES of them are looked at, at random.
local function catch_up(q)
  local lanes = call('HRANDFIELD', q['held-ends'], LANES)
  local brought = #lanes > 0 and call('SCARD', q.brought)
  for i = 1, #lanes do
    local limit = limit_of(q, q.limited, lanes[i])
    if limit and brought <= (limit.n and 0 or MOVES / 2) then
      fill_slots(q, limit)
      brought = call('SCARD', q.brought)
    end
  end
end

for i = 1, #turns do
  local q = turns[i]
  -- A full server admits this first write, which needs no memory, and then the others. At
  -- the end the marker is set again where there is something to take.
  call('DEL', q.marker)
  local pause = step(q, now)
  local refused = refusal(q, q.member, q.number)
  if refused then
    answers[i] = {refused}
    wake(q, now)
  else
    -- A paused queue names nothing to take, or the process would not wait (I14).
    q.is_paused = not q.plain and call('EXISTS', q.paused) == 1
    local leases = lease(q)
    if next(q.limited) then
      catch_up(q)
    end
    local ready = not (q.is_paused or (q.emptied and q.plain)) and call('LLEN', q.ready) > 0
    local more = ready
    if not q.is_paused then
      -- A held job may stand behind them whose slot is free.
      more = more or holes_passed >= MOST_HOLES
      for j = 1, #q.parks do
        more = more or length_of(q.parks[j]) > 0
      end
    end
    local parks = (q.plain or q.is_paused) and {} or call('HRANDFIELD', q['parked-ends'], PARKS_TOLD)
    local due = keeps_time(q, q.member, now) and not q.plain and next_due(q, now_us)
    answers[i] = {'APPLIED', leases, more and 1 or 0, parks, due,
      name_dead(q, q.member, now, pause), q.is_paused and 1 or 0,
      #leases == 0 and call('HLEN', q.running)}
    -- What `wake` does when a member keeps the time.
    if ready then
      call('ZADD', q.marker, 0, '1')
    end
  end
end
return answers
