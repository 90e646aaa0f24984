-- The failed store: `failed` orders it by time, `errors` holds the reasons, records
-- and attempts stay where they were. Bounded by number, age and bytes (I19).

local TRIM = 100

-- Forgets failed jobs; returns how many of the ids were there.
local function forget(q, ids, keep_jobs)
  local found, bytes = {}, 0
  for i = 1, #ids do
    if call('ZREM', q.failed, ids[i]) == 1 then
      found[#found + 1] = ids[i]
      bytes = bytes + call('HSTRLEN', q.jobs, ids[i]) + call('HSTRLEN', q.errors, ids[i])
    end
  end
  if #found > 0 then
    call('HDEL', q.errors, unpack(found))
    call('HDEL', q.attempts, unpack(found))
    if not keep_jobs then
      call('HDEL', q.jobs, unpack(found))
    end
    call('DECRBY', q['failed-bytes'], bytes)
  end
  return found
end

-- `bounds` is {number, age in ms, bytes}. The oldest go, at most TRIM a call, and
-- never the newest one.
local function trim_failed(q, now, bounds)
  local excess = call('ZCARD', q.failed) - bounds[1]
  local bytes = tonumber(call('GET', q['failed-bytes']) or 0) - bounds[3]
  local oldest = call('ZRANGE', q.failed, 0, TRIM - 1, 'WITHSCORES')
  local ids = {}
  for i = 1, #oldest, 2 do
    if excess <= 0 and bytes <= 0 and tonumber(oldest[i + 1]) > now - bounds[2] then
      break
    end
    if i + 1 == #oldest and #oldest < 2 * TRIM then
      break
    end
    ids[#ids + 1] = oldest[i]
    excess = excess - 1
    bytes = bytes - call('HSTRLEN', q.jobs, oldest[i]) - call('HSTRLEN', q.errors, oldest[i])
  end
  forget(q, ids, false)
end

-- Adds {id, reason, ...}, in order, the records being in `jobs`.
local function fail(q, now, entries, bounds)
  if #entries == 0 then
    return
  end
  -- Failures of one ms keep their order: 1/1024 ms is exact in a score.
  local score = now
  local last = tonumber(call('ZRANGE', q.failed, -1, -1, 'WITHSCORES')[2])
  if last and last >= now and last < now + 1 then
    score = last + 1 / 1024
  end
  local scores, bytes = {}, 0
  for i = 1, #entries, 2 do
    scores[#scores + 1] = score
    scores[#scores + 1] = entries[i]
    score = score + 1 / 1024
    bytes = bytes + call('HSTRLEN', q.jobs, entries[i]) + #entries[i + 1]
  end
  many('ZADD', q.failed, scores)
  many('HSET', q.errors, entries)
  call('INCRBY', q['failed-bytes'], bytes)
  trim_failed(q, now, bounds)
end
