-- Takes back leases of a dead member, a bounded number, the newest first, so that
-- those which return to the front stand there in order after several calls (I7, I11,
-- I12).
--
-- KEYS
--   jobs          hash    stored id -> record
--   ready         list    stored ids
--   future        zset    stored id -> due
--   retrying      set     those ids of `future` that wait for a retry
--   attempts      hash    stored id -> `<retries>,<losses>,<direct-only>`
--   timekeeper, marker, paused   for the wake-up, see wake.lua
--   failed        zset    stored id -> instant
--   errors        hash    stored id -> reason
--   failed-bytes  string  size of records and reasons of the failed
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   members, seq, info, guard    see members.lua, and retention.lua
--   cancelling, progress         see leased.lua
--   periodic-info hash    task -> `<interval> <last declared>`, ms
--   results, results-until, awaited   see results.lua
--   running:<member>   hash  stored id -> token, of the dead member
-- ARGV
--   1 clock offset, ms   2 to 4 bounds by default: number, age in ms, bytes
--   5 dead member   6 most leases   7 most bytes of records in the reply
--   8 losses after which a job is poison   9 base and 10 cap of the delay, ms
--   11 seed for the delays   12 to 14 reasons: at most once, poison, last attempt
-- Reply
--   {'APPLIED', more, lost: stored id, record, retries, losses for each, count of jobs put
--    back to the front, count of jobs that run again after a delay, info of the member, count
--    of jobs that are gone since their cancel was asked for}
--   {'REFUSED'}: it is alive, unknown, or no member may be declared dead now
local NAMES = {'jobs', 'ready', 'future', 'retrying', 'attempts', 'timekeeper', 'marker', 'paused',
  'failed', 'errors', 'failed-bytes', 'limits', 'declared', 'slots', 'held', 'held-ends', 'brought',
  'members', 'seq', 'info', 'guard', 'periodic-info', 'cancelling', 'progress', 'results',
  'results-until', 'awaited'}
local q = named(NAMES, 0)
local running = KEYS[#NAMES + 1]
local now, now_up = now_ms(ARGV[1])
local bounds = {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])}
local dead = ARGV[5]
local most, most_bytes, most_losses = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local base_ms, cap_ms = tonumber(ARGV[9]), tonumber(ARGV[10])

admit_when_full(q.ready)
local pause = step(q, now)
if not condemned(q, dead, now, pause) then
  return {'REFUSED'}
end
-- Before anything else: from here on it receives nothing.
local limits = limits_of(q)
local info = dismiss(q, limits, dead, now)

local leases = {}
local pairs_ = call('HGETALL', running)
for i = 1, #pairs_, 2 do
  local token = pairs_[i + 1]
  leases[#leases + 1] = {pairs_[i], string.sub(token, 1, 1) == 'd', tonumber(string.match(token, '%d+'))}
end
table.sort(leases, function(one, other) return one[3] > other[3] end)

math.randomseed(tonumber(ARGV[11]))
local ended, unharmed, retries, failures, lost, ends, bytes = {}, {}, {}, {}, {}, {}, 0
local first, gone = {}, {}
for i = 1, math.min(most, #leases) do
  first[i] = leases[i][1]
end
local asked = asked_of(q, first)
for i = 1, math.min(most, #leases) do
  local id, direct = leases[i][1], leases[i][2]
  local record = call('HGET', q.jobs, id)
  local spent, losses, _, why = attempts_of(call('HGET', q.attempts, id))
  local reason = false
  if record and direct and not asked[id] then
    losses = losses + 1
    if string.sub(id, 1, 1) == '0' then
      reason = ARGV[12]
    elseif losses >= most_losses then
      reason = ARGV[13]
    elseif spent >= (max_retries_of(record) or math.huge) then
      reason = ARGV[14]
    end
    if reason and bytes > 0 and bytes + #record > most_bytes then
      break
    end
  end
  ended[#ended + 1] = id
  if asked[id] then
    -- Whatever it was to be: nobody wants it any more (I22).
    gone[#gone + 1] = id
    local keep_ms = record and keep_ms_of(record)
    if keep_ms then
      ends[#ends + 1] = {id, 'C', keep_ms}
    end
  elseif reason then
    bytes = bytes + #record
    call('HSET', q.attempts, id, attempts_text(spent, losses, false, ''))
    table.insert(failures, 1, reason)
    table.insert(failures, 1, id)
    lost[#lost + 1] = {id, record, spent, losses}
    local keep_ms = keep_ms_of(record)
    if keep_ms then
      ends[#ends + 1] = {id, 'F' .. reason, keep_ms}
    end
  elseif record and direct then
    local most_ms = math.min(cap_ms, base_ms * 2 ^ math.min(losses - 1, 64))
    table.insert(retries, 1, {id, now + math.floor(math.random() * most_ms), 1, ''})
  elseif record then
    call('HSET', q.attempts, id, attempts_text(spent, losses, true, why))
    table.insert(unharmed, 1, id)
  end
  if next(limits) then
    local task = task_of(record)
    if task and limits[task] then
      limits[task].ended = limits[task].ended or {}
      table.insert(limits[task].ended, id)
    end
  end
end
for task, limit in pairs(limits) do
  if limit.ended then
    free_slots(q, limit_of(q, limits, task), limit.ended)
  end
end
many('HDEL', running, ended)
forget_leased(q, ended)
many('HDEL', q.jobs, gone)
many('HDEL', q.attempts, gone)
retry(q, now, retries)
fail(q, now, failures, bounds)
keep_ends(q, now, now_up, ends)
to_front(q.ready, unharmed)
local more = call('EXISTS', running) == 1
if more then
  claim(q, dead, now)
else
  call('ZREM', q.members, dead)
  call('HDEL', q.info, dead)
  call('HDEL', q.guard, 'named:' .. dead)
end
wake(q, now)
local answer = {}
for i = #lost, 1, -1 do
  for j = 1, 4 do
    answer[#answer + 1] = lost[i][j]
  end
end
return {'APPLIED', more and 1 or 0, answer, #unharmed, #retries, info, #gone}
