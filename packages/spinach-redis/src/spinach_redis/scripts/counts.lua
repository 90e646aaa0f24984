-- Counts the jobs of queues by place, all at one instant.
--
-- KEYS, for each queue in order
--   ready, future, retrying, members, seq, info, limits, parks, jobs, attempts, failed,
--   errors, failed-bytes, enqueued, periodic
--   running:<member>     of each member that the caller knows
--   held:<task>          of each limited task that the caller knows
--   parked:<task>        of each park that the caller knows
-- ARGV
--   1 clock offset, ms   2 to 4 bounds of the failed store: number, age in ms, bytes
--   5 count of queues
--   for each queue: count of members, the members; count of limited tasks, the tasks;
--   count of parks, the parks
-- Reply, for each queue
--   {'APPLIED', ready, held, leased, leased by dead, future, retrying, parked, failed,
--    members, enqueued, ms until something is due or nil, task and count of each park}
--   {'KEYS', members, limited tasks, parks}: their keys are needed
local NAMES = {'ready', 'future', 'retrying', 'members', 'seq', 'info', 'limits', 'parks', 'jobs',
  'attempts', 'failed', 'errors', 'failed-bytes', 'enqueued', 'periodic'}
local now = now_ms(ARGV[1])
local bounds = {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])}
local a, k = 6, 0

-- Reads a count and names, and gives each the next key.
local function declared_names()
  local keys = {}
  local count = tonumber(ARGV[a])
  for i = 1, count do
    keys[ARGV[a + i]] = KEYS[k + i]
  end
  a, k = a + count + 1, k + count
  return keys
end

local function all_declared(names, keys)
  for i = 1, #names do
    if not keys[names[i]] then
      return false
    end
  end
  return true
end

local function lengths(names, keys)
  local total = 0
  for i = 1, #names do
    total = total + call('LLEN', keys[names[i]])
  end
  return total
end

local answers = {}
for i = 1, tonumber(ARGV[5]) do
  local q = named(NAMES, k)
  k = k + #NAMES
  local running, held, parked = declared_names(), declared_names(), declared_names()
  local members = call('ZRANGE', q.members, 0, -1)
  local limits, parks = call('HKEYS', q.limits), call('SMEMBERS', q.parks)
  if not (all_declared(members, running) and all_declared(limits, held)
      and all_declared(parks, parked)) then
    answers[i] = {'KEYS', members, limits, parks}
  else
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
          if instant then
            due = math.min(due or instant, instant)
          end
        end
      else
        leased_by_dead = leased_by_dead + count
      end
    end
    local retrying, by_park, all_parked = call('SCARD', q.retrying), {}, 0
    for j = 1, #parks do
      local count = call('LLEN', parked[parks[j]])
      if count > 0 then
        by_park[#by_park + 1], by_park[#by_park + 2] = parks[j], count
        all_parked = all_parked + count
      end
    end
    answers[i] = {'APPLIED', call('LLEN', q.ready), lengths(limits, held), leased, leased_by_dead,
      call('ZCARD', q.future) - retrying, retrying, all_parked,
      call('ZCOUNT', q.failed, now - bounds[2], '+inf'), alive,
      tonumber(call('GET', q.enqueued) or 0), due and due - now or false, by_park}
  end
end
return answers
