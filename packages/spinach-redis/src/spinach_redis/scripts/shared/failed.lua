-- The failed store: `failed` orders it by time, `errors` holds the reasons; records
-- and attempts stay where they were. Bounded by number, age and bytes (I19).

local TRIM = 100

-- Takes jobs out; returns those of the ids that were there.
local function take_out(q, ids)
  local found, bytes = {}, 0
  for i = 1, #ids do
    if call('ZREM', q.failed, ids[i]) == 1 then
      found[#found + 1] = ids[i]
      bytes = bytes + call('HSTRLEN', q.jobs, ids[i]) + call('HSTRLEN', q.errors, ids[i])
    end
  end
  many('HDEL', q.errors, found)
  many('HDEL', q.attempts, found)
  if bytes > 0 then
    call('DECRBY', q['failed-bytes'], bytes)
  end
  return found
end

-- Forgets the oldest failed jobs beyond `bounds`, {number, age in ms, bytes}, at most
-- TRIM a call; the bytes never cost the newest one. A full server must allow it.
local function trim_failed(q, now, bounds)
  local count = call('ZCARD', q.failed)
  if count == 0 then
    return
  end
  local bytes = tonumber(call('GET', q['failed-bytes']) or 0)
  local first = call('ZRANGE', q.failed, 0, 0, 'WITHSCORES')
  if count <= bounds[1] and bytes <= bounds[3] and tonumber(first[2]) >= now - bounds[2] then
    return
  end
  local oldest = call('ZRANGE', q.failed, 0, TRIM - 1, 'WITHSCORES')
  local ids = {}
  for i = 1, #oldest, 2 do
    local crowded = count > bounds[1] or (bytes > bounds[3] and count > 1)
    if not crowded and tonumber(oldest[i + 1]) >= now - bounds[2] then
      break
    end
    ids[#ids + 1] = oldest[i]
    count = count - 1
    bytes = bytes - call('HSTRLEN', q.jobs, oldest[i]) - call('HSTRLEN', q.errors, oldest[i])
  end
  many('HDEL', q.jobs, take_out(q, ids))
end

-- Adds {id, reason, ...}, in order, the records being in `jobs`.
local function fail(q, now, entries, bounds)
  if #entries == 0 then
    return
  end
  -- Failures of one ms keep their order, as in `postpone`.
  local score = now
  local last = tonumber(call('ZRANGE', q.failed, -1, -1, 'WITHSCORES')[2])
  if last and last >= now and last < now + 1 then
    score = last + 1 / 2048
  end
  local scores, bytes = {}, 0
  for i = 1, #entries, 2 do
    scores[#scores + 1] = string.format('%.17g', math.min(score, now + 1 - 1 / 2048))
    scores[#scores + 1] = entries[i]
    score = score + 1 / 2048
    bytes = bytes + call('HSTRLEN', q.jobs, entries[i]) + #entries[i + 1]
  end
  many('ZADD', q.failed, scores)
  many('HSET', q.errors, entries)
  call('INCRBY', q['failed-bytes'], bytes)
  trim_failed(q, now, bounds)
end
