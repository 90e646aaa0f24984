-- Makes due jobs ready, a bounded number, in the order of their instants, and names
-- the periodic tasks that are due.
--
-- KEYS
--   ready         list    stored ids
--   future        zset    stored id -> due
--   retrying      set     those ids of `future` that wait for a retry
--   timekeeper, marker, paused   for the wake-up, see wake.lua
--   members, info, guard         see members.lua
--   periodic      zset    task -> next due
--   periodic-info hash    task -> `<interval> <last declared>`, ms
--   periodic-paused  hash  see grid.lua
-- ARGV
--   1 clock offset, ms   2 most jobs   then the periodic tasks that the caller declares
-- Reply
--   {us until a job is due next or nil, due: task, instant for each,
--   us until a task is due next or nil}
local NAMES = {'ready', 'future', 'retrying', 'timekeeper', 'marker', 'paused', 'members', 'info',
  'guard', 'periodic', 'periodic-info', 'periodic-paused'}
local DAY_MS = 24 * 60 * 60 * 1000
local q = named(NAMES, 0)
local now, _, now_us = now_ms(ARGV[1])

admit_when_full(q.ready)
step(q, now)
local ids = call('ZRANGEBYSCORE', q.future, '-inf', string.format('(%.0f', now + 1),
  'LIMIT', 0, tonumber(ARGV[2]))
if #ids > 0 then
  many('ZREM', q.future, ids)
  many('SREM', q.retrying, ids)
  many('RPUSH', q.ready, ids)
  announce(q)
end
local next_task, due = nil, {}
for i = 3, #ARGV do
  local task = ARGV[i]
  local instant = tonumber(call('ZSCORE', q.periodic, task))
  local interval, seen = string.match(call('HGET', q['periodic-info'], task) or '', '^(%d+) (%d+)$')
  if instant == NEVER then
    instant = look_at(q, task, instant, tonumber(interval), now)
  elseif instant and interval and instant > now + tonumber(interval) + STEP_MS then
    -- The clock was set back: the task does not wait for it to catch up.
    instant = now + tonumber(interval)
    call('ZADD', q.periodic, instant, task)
  end
  if instant then
    if instant <= now then
      due[#due + 1] = task
      due[#due + 1] = string.format('%.0f', instant)
    else
      next_task = math.min(next_task or instant, instant)
    end
    if seen and tonumber(seen) < now - DAY_MS then
      call('HSET', q['periodic-info'], task, string.format('%s %.0f', interval, now))
    end
  end
end
return {next_due(q, now_us), due, next_task and until_us(next_task, now_us) or false}
