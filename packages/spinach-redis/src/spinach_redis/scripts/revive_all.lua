-- Takes a portion of the failed jobs out, the oldest first: to run them again, or to forget
-- them. A copy of the call is answered as the first one was, and changes nothing.
--
-- KEYS
--   jobs          hash    stored id -> record
--   ready         list    stored ids
--   attempts      hash    stored id -> `<retries>,<losses>,<direct-only>`
--   marker        zset    wake-up
--   paused        string  no wake-up while it exists
--   failed        zset    stored id -> instant
--   errors        hash    stored id -> reason
--   failed-bytes  string  size of records and reasons of the failed
--   guard         hash    the bounds in force, see retention.lua
--   results, results-until   see results.lua
--   flow          hash    see flow.lua
--   taken:<call>  string  what this call was answered
-- ARGV
--   1 clock offset, ms   2 to 4 bounds by default: number, age in ms, bytes
--   5 `retry` or `discard`   6 how long the answer is kept, ms
--   7 most jobs to look at   8 most bytes of records and reasons; one larger job comes alone
--   9 task, 10 beginning of the reason, 11 earliest instant in ms of those that match; '' for any
--   12 to 14 instant, order and stored id of the last place that counts
--   15 to 17 those of the place to begin behind, if any
-- Reply
--   `<how many jobs> <instant> <order> <stored id>`: where to begin next; the number alone when
--   nothing is left
local NAMES = {'jobs', 'ready', 'attempts', 'marker', 'paused', 'failed', 'errors', 'failed-bytes',
  'guard', 'results', 'results-until', 'flow'}
local q = named(NAMES, 0)
local taken = KEYS[#NAMES + 1]
local now = now_ms(ARGV[1])
local bounds = bounds_in_force(q, {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])})
local look, most_bytes = tonumber(ARGV[7]), tonumber(ARGV[8])
local task, beginning = ARGV[9], ARGV[10]

local told = call('GET', taken)
if told then
  return told
end

local oldest, behind = math.max(now - bounds[2], tonumber(ARGV[11]) or 0), 0
if ARGV[15] then
  local place = score_of(ARGV[15], ARGV[16])
  if tonumber(place) >= oldest then
    oldest = place
    local same = call('ZRANGEBYSCORE', q.failed, place, place)
    while same[behind + 1] and not before(ARGV[17], same[behind + 1]) do
      behind = behind + 1
    end
  end
end
local newest = score_of(ARGV[12], ARGV[13])
-- One more than is looked at, to know whether something is left.
local page = call('ZRANGEBYSCORE', q.failed, oldest, newest, 'WITHSCORES', 'LIMIT', behind,
  look + 1)
local ids, freed, bytes, last, over = {}, 0, 0, 0, true
for i = 1, #page, 2 do
  local id = page[i]
  if tonumber(page[i + 1]) == tonumber(newest) and before(ARGV[14], id) then
    break
  end
  local size = size_of(q, id)
  bytes = bytes + size
  if i > 2 * look or (i > 1 and bytes > most_bytes) then
    over = false
    break
  end
  last = i
  if (beginning == '' or string.sub(call('HGET', q.errors, id) or '', 1, #beginning) == beginning)
      and (task == '' or task_of(call('HGET', q.jobs, id)) == task) then
    ids[#ids + 1] = id
    freed = freed + size
  end
end

local answer = tostring(#ids)
if not over then
  local ms, order = instant_of(tonumber(page[last + 1]))
  answer = string.format('%d %s %d %s', #ids, ms, order, page[last])
end
if #ids > 0 then
  admit_when_full(q.jobs)
  drop(q, ids, freed)
  if ARGV[5] == 'retry' then
    forget_ends(q, ids)
    call('HINCRBY', q.flow, 'revived', #ids)
    many('RPUSH', q.ready, ids)
    announce(q)
  else
    many('HDEL', q.jobs, ids)
  end
  call('SET', taken, answer, 'PX', ARGV[6])
end
return answer
