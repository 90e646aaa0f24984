-- Counts the jobs of queues by place, all at one instant.
--
-- KEYS, for each queue in order
--   version, ready, future, retrying, members, seq, info, held-ends, parked-ends, jobs,
--   attempts, failed, errors, failed-bytes, enqueued, periodic, cancelled, guard
--   running:<member>     of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 to 4 bounds by default: number, age in ms, bytes
--   5 schema   6 count of queues
--   for each queue: count of members, the members
-- Reply, for each queue
--   {'APPLIED', ready, held, leased, leased by dead, future, retrying, parked, failed,
--    members, enqueued, ms until something is due or nil, task and count of each park}
--   {'KEYS', members}: their keys are needed
--   {'VERSION', schema found}
local NAMES = {'version', 'ready', 'future', 'retrying', 'members', 'seq', 'info', 'held-ends',
  'parked-ends', 'jobs', 'attempts', 'failed', 'errors', 'failed-bytes', 'enqueued', 'periodic',
  'cancelled', 'guard'}
local now = now_ms(ARGV[1])
local default = {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])}
local a, k = 7, 0

-- How many jobs there are in each of some lanes, by name, and in all; see lanes.lua.
local function lengths_of(ends)
  local flat, lengths, sum = call('HGETALL', ends), {}, 0
  for i = 1, #flat, 2 do
    local first, last, holes = string.match(flat[i + 1], '^(%-?%d+) (%-?%d+) ?(%d*)$')
    local length = last - first + 1 - (tonumber(holes) or 0)
    lengths[#lengths + 1], lengths[#lengths + 2] = flat[i], length
    sum = sum + length
  end
  return lengths, sum
end

local function all_declared(names, keys)
  for i = 1, #names do
    if not keys[names[i]] then
      return false
    end
  end
  return true
end

local answers = {}
for i = 1, tonumber(ARGV[6]) do
  local q = named(NAMES, k)
  k = k + #NAMES
  local running = {}
  for j = 1, tonumber(ARGV[a]) do
    k = k + 1
    running[ARGV[a + j]] = KEYS[k]
  end
  a = a + tonumber(ARGV[a]) + 1
  local version, members = call('GET', q.version), call('ZRANGE', q.members, 0, -1)
  if version and version ~= ARGV[5] then
    answers[i] = {'VERSION', version}
  elseif not all_declared(members, running) then
    answers[i] = {'KEYS', members}
  else
    local bounds = bounds_in_force(q, default)
    trim_failed(q, now, bounds)
    local leased, leased_by_dead, alive = 0, 0, 0
    local first = call('ZRANGE', q.future, 0, 0, 'WITHSCORES')
    local due = first[1] and math.floor(tonumber(first[2]))
    for j = 1, #members do
      local count = call('HLEN', running[members[j]])
      local ends = tonumber(call('ZSCORE', q.members, members[j]))
      if ends >= now and call('HEXISTS', q.seq, members[j]) == 1 then
        alive, leased = alive + 1, leased + count
        local info = call('HGET', q.info, members[j]) or ''
        for task in string.gmatch(string.match(info, '^%d+ ([^\n]*)') or '', '%S+') do
          local instant = tonumber(call('ZSCORE', q.periodic, task))
          -- One that is paused is not due.
          if instant and instant < NEVER then
            due = math.min(due or instant, instant)
          end
        end
      else
        leased_by_dead = leased_by_dead + count
      end
    end
    local retrying, _, held = call('SCARD', q.retrying), lengths_of(q['held-ends'])
    local by_park, parked = lengths_of(q['parked-ends'])
    -- Those that were cancelled there have left a gap.
    local ready = math.max(0, call('LLEN', q.ready) - call('SCARD', q.cancelled))
    answers[i] = {'APPLIED', ready, held, leased, leased_by_dead,
      call('ZCARD', q.future) - retrying, retrying, parked,
      call('ZCOUNT', q.failed, now - bounds[2], '+inf'), alive,
      tonumber(call('GET', q.enqueued) or 0), due and due - now or false, by_park}
  end
end
return answers
