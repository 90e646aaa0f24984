-- Results: how jobs ended, for those who ask. `results` has the end of a job and
-- `results-until` the instant from which it is not kept any more, both by stored id, so that any
-- script can add one or take one away. An end is a letter and what comes with it: `S` and the
-- encoded result, `F` and the reason, `C` cancelled, `X` expired.
--
-- `awaited` has the jobs that someone waits for, each with the instant until which. When such a
-- job ends, its end is also put into the list `result:<stored id>`, for a few seconds, where
-- waiting calls find it. That list is no place to keep anything: one that is lost, or not
-- declared, costs a waiting call some seconds.

local SIGNAL_MS = 10000

-- Most ends that one call drops, beside as many as it adds; see also beat.lua.
local TRIM_RESULTS = 100

-- Drops ends whose time is over, and notes of callers that wait no longer; of ends at most as many
-- as a call does, and `more`.
local function trim_results(q, now, more)
  local to, most = string.format('%.0f', now), TRIM_RESULTS + (more or 0)
  local over = call('ZRANGEBYSCORE', q['results-until'], '-inf', to, 'LIMIT', 0, most)
  many('ZREM', q['results-until'], over)
  many('HDEL', q.results, over)
  many('ZREM', q.awaited, call('ZRANGEBYSCORE', q.awaited, '-inf', to, 'LIMIT', 0, TRIM_RESULTS))
end

-- Keeps ends; `ends` is {{id, end, ms to keep it, key of its list or nil}, ...}. `now_up` is the
-- time rounded up.
local function keep_ends(q, now, now_up, ends)
  if #ends == 0 then
    return
  end
  trim_results(q, now, #ends)
  local values, instants, ids = {}, {}, {}
  for i = 1, #ends do
    local id, value, keep_ms = unpack(ends[i])
    ids[i] = id
    values[2 * i - 1], values[2 * i] = id, value
    instants[2 * i - 1], instants[2 * i] = string.format('%.0f', now_up + keep_ms), id
  end
  many('HSET', q.results, values)
  many('ZADD', q['results-until'], instants)
  if call('EXISTS', q.awaited) == 0 then
    return
  end
  for i = 1, #ends do
    local list = ends[i][4]
    if call('ZREM', q.awaited, ids[i]) == 1 and list then
      call('RPUSH', list, ends[i][2])
      call('PEXPIRE', list, SIGNAL_MS)
    end
  end
end

-- Forgets ends, of jobs that go on after all.
local function forget_ends(q, ids)
  if #ids > 0 and call('EXISTS', q.results) == 1 then
    many('HDEL', q.results, ids)
    many('ZREM', q['results-until'], ids)
  end
end

-- How long the end of a job is to be kept, in ms; nil: it is not. The options are the last element
-- of a record, and arguments cannot look like its end.
local function keep_ms_of(record)
  local _, _, flags = header_of(record)
  if not flags or not string.find(flags, 'r', 1, true) then
    return nil
  end
  local tail = string.sub(record, -100)
  return tonumber(string.match(tail, '"keep_ms":(%d+)}%]$')
    or string.match(tail, '"keep_ms":(%d+),"expires_ms":%d+}%]$'))
end
