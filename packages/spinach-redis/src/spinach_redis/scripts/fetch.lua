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
--   limits      hash    limited task -> override or ''
--   brought     set     see slots.lua
--   parks       set     tasks with parked jobs
--   timekeeper  string  see wake.lua
--   marker      zset    wake-up
--   paused      string  nothing is taken while it exists
--   running:<member>    hash  stored id -> token
--   slots, held, limit  set, list, zset, of each limited task that the caller knows
--   parked:<task>       list, of each park that the turn names
-- ARGV
--   1 clock offset, ms   2 idle   3 extra   4 most bytes
--   5 jobs and 6 bytes that earlier calls for the same threads have taken
--   7 count of turns
--   for each turn: member, number, count of limited tasks, the tasks,
--   count of parks, the parks
-- Reply, for each turn
--   {'APPLIED', leases, more, parks, us until the next job is due or nil,
--    member to recover or nil, whether the queue is paused,
--    count of the member's leases, or nil where this fetch brings some}
--     leases: stored id, token, record, attempts or nil for each, in order; a token
--     is `d` (direct) or `b` (buffered) and a number that grows
--   {'FENCED'} | {'STALE'}
--   {'KEYS', limited tasks}: nothing was done for any turn, their keys are needed
local NAMES = {'jobs', 'ready', 'future', 'attempts', 'members', 'seq', 'info', 'guard', 'leases',
  'limits', 'brought', 'parks', 'timekeeper', 'marker', 'paused'}
local MOST_HELD = 500
local PARKS_TOLD = 100
local PEEK, FIRST_PEEK = 100, 10

local now, _, now_us = now_ms(ARGV[1])
local idle = tonumber(ARGV[2])
local want = idle + tonumber(ARGV[3])
local most_bytes = tonumber(ARGV[4])

local turns, answers, incomplete = {}, {}, false
local a, k = 8, 0
for i = 1, tonumber(ARGV[7]) do
  local q = named(NAMES, k)
  k = k + #NAMES + 1
  q.running = KEYS[k]
  q.member, q.number = ARGV[a], tonumber(ARGV[a + 1])
  local declared
  declared, a, k = declared_limits(a + 2, k)
  -- Most queues have none of these, and one command tells.
  q.plain = call('EXISTS', q.limits, q.attempts, q.future, q.parks, q.paused) == 0
  local missing = {}
  q.limited = {}
  if not q.plain then
    q.limited, missing = limits_of(q, declared)
  end
  incomplete = incomplete or #missing > 0
  answers[i] = {'KEYS', missing}
  q.parked = {}
  for j = 1, tonumber(ARGV[a]) do
    q.parked[j] = {ARGV[a + j], KEYS[k + j]}
  end
  a, k = a + #q.parked + 1, k + #q.parked
  turns[i] = q
end
if incomplete then
  return answers
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

-- Takes jobs from the head of a list; whether that is known to have emptied it.
-- Of each lease: stored id, first character of the token, record, attempts or false.
local function take(q, list, leases)
  local counted = not q.plain and call('EXISTS', q.attempts) == 1
  local limited = next(q.limited) ~= nil
  while taken < want do
    local count = math.max(peek(), limited and FIRST_PEEK or 0)
    local ids = call('LRANGE', list, 0, count - 1)
    if #ids == 0 then
      return true
    end
    local records = call('HMGET', q.jobs, unpack(ids))
    local attempts = counted and call('HMGET', q.attempts, unpack(ids)) or {}
    local passed, barred = 0, false
    for i = 1, #ids do
      local id, record, direct = ids[i], records[i], taken < idle
      if taken >= want then
        break
      end
      if record then
        local task = limited and task_of(record)
        local limit = task and q.limited[task]
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
        if limit and call('SCARD', limit.slots) >= limit.n then
          if held_count >= MOST_HELD then
            barred = true
            break
          end
          held_count = held_count + 1
          limit.aside = limit.aside or {}
          limit.again = limit.again or {}
          if call('SISMEMBER', q.brought, id) == 1 then
            limit.again[#limit.again + 1] = id
          else
            limit.aside[#limit.aside + 1] = id
          end
        else
          if taken > 0 and bytes + #record > most_bytes then
            barred, want = true, taken
            break
          end
          taken, bytes = taken + 1, bytes + #record
          if limit then
            call('SADD', limit.slots, id)
          end
          local n = #leases
          leases[n + 1], leases[n + 2], leases[n + 3] = id, direct and 'd' or 'b', record
          leases[n + 4] = attempts[i] or false
        end
      end
      passed = i
    end
    if passed > 0 then
      call('LTRIM', list, passed, -1)
      if limited then
        call('SREM', q.brought, unpack(ids, 1, passed))
      end
    end
    if barred then
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
  for i = 1, #q.parked do
    take(q, q.parked[i][2], leases)
    if call('EXISTS', q.parked[i][2]) == 0 then
      call('SREM', q.parks, q.parked[i][1])
    end
  end
  q.emptied = take(q, q.ready, leases)
  for _, limit in pairs(q.limited) do
    many('RPUSH', limit.held, limit.aside or {})
    to_front(limit.held, limit.again or {})
  end
  if #leases > 0 then
    local count, tokens = #leases / 4, {}
    local number = call('INCRBY', q.leases, count) - count
    for i = 1, count do
      local at = 4 * i - 3
      leases[at + 1] = string.format('%s%.0f', leases[at + 1], number + i)
      tokens[2 * i - 1], tokens[2 * i] = leases[at], leases[at + 1]
    end
    many('HSET', q.running, tokens)
  end
  return leases
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
    catch_up(q, q.limited)
    local ready = not (q.is_paused or (q.emptied and q.plain)) and call('LLEN', q.ready) > 0
    local more = ready
    if not q.is_paused then
      for j = 1, #q.parked do
        more = more or call('EXISTS', q.parked[j][2]) == 1
      end
    end
    local parks = (q.plain or q.is_paused) and {} or call('SRANDMEMBER', q.parks, PARKS_TOLD)
    local due = keeps_time(q, q.member, now) and not q.plain and next_due(q, now_us)
    answers[i] = {'APPLIED', leases, more and 1 or 0, parks, due,
      name_dead(q, q.member, now, pause), q.is_paused and 1 or 0,
      #leases == 0 and call('HLEN', q.running)}
    -- What `wake` does, when somebody keeps the time.
    if ready then
      call('ZADD', q.marker, 0, '1')
    end
  end
end
return answers
