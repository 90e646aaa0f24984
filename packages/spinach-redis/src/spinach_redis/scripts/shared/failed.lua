-- The failed store: `failed` orders it by time, `errors` holds the reasons; records
-- and attempts stay where they were. Bounded by number, age and bytes (I19).

local TRIM = 100

-- Failures of one ms keep their order: their scores differ by this part of a ms, as those of
-- waiting jobs do in wake.lua.
local SAME_INSTANT = 2048

-- What a failed job counts for.
local function size_of(q, id)
  return call('HSTRLEN', q.jobs, id) + call('HSTRLEN', q.errors, id)
end

-- Takes out jobs that are there; `bytes` is their size in all. The first write needs no memory.
local function drop(q, ids, bytes)
  many('ZREM', q.failed, ids)
  many('HDEL', q.errors, ids)
  many('HDEL', q.attempts, ids)
  if bytes > 0 then
    call('DECRBY', q['failed-bytes'], bytes)
  end
end

-- Takes jobs out; returns those of the ids that were there.
local function take_out(q, ids)
  local found, seen, bytes = {}, {}, 0
  for i = 1, #ids do
    if not seen[ids[i]] and call('ZSCORE', q.failed, ids[i]) then
      seen[ids[i]] = true
      found[#found + 1] = ids[i]
      bytes = bytes + size_of(q, ids[i])
    end
  end
  drop(q, found, bytes)
  return found
end

-- Forgets the oldest failed jobs beyond `bounds`; see retention.lua. At most TRIM a call, and as
-- many more, in number and in bytes, as the call `added`: with a fixed number the store would grow
-- for as long as reports bring more than that. A full server must allow it.
local function trim_failed(q, now, bounds, added, added_bytes)
  local count = call('ZCARD', q.failed)
  if count == 0 then
    return
  end
  local bytes = tonumber(call('GET', q['failed-bytes']) or 0)
  local first = call('ZRANGE', q.failed, 0, 0, 'WITHSCORES')
  if count <= bounds[1] and bytes <= bounds[3] and tonumber(first[2]) >= now - bounds[2] then
    return
  end
  local ids, freed, oldest, i = {}, 0, {}, 1
  while #ids < TRIM + (added or 0) or freed < (added_bytes or 0) do
    if i > #oldest then
      oldest, i = call('ZRANGE', q.failed, #ids, #ids + TRIM - 1, 'WITHSCORES'), 1
    end
    local crowded = count > bounds[1] or (bytes - freed > bounds[3] and count > 1)
    if count == 0 or not (crowded or tonumber(oldest[i + 1]) < now - bounds[2]) then
      break
    end
    ids[#ids + 1] = oldest[i]
    freed = freed + size_of(q, oldest[i])
    count, i = count - 1, i + 2
  end
  drop(q, ids, freed)
  many('HDEL', q.jobs, ids)
end

-- Adds {id, reason, ...}, in order, the records being in `jobs`; `default` bounds hold where no
-- member said others.
local function fail(q, now, entries, default)
  if #entries == 0 then
    return
  end
  -- The last one is not of this ms, nor before it, where the clock was set back.
  local last = call('ZREVRANGEBYSCORE', q.failed, string.format('(%.0f', now + 1),
    string.format('%.0f', now), 'WITHSCORES', 'LIMIT', 0, 1)
  local score = last[2] and tonumber(last[2]) + 1 / SAME_INSTANT or now
  local scores, bytes = {}, 0
  for i = 1, #entries, 2 do
    scores[#scores + 1] = string.format('%.17g', math.min(score, now + 1 - 1 / SAME_INSTANT))
    scores[#scores + 1] = entries[i]
    score = score + 1 / SAME_INSTANT
    bytes = bytes + call('HSTRLEN', q.jobs, entries[i]) + #entries[i + 1]
  end
  many('ZADD', q.failed, scores)
  many('HSET', q.errors, entries)
  call('INCRBY', q['failed-bytes'], bytes)
  trim_failed(q, now, bounds_in_force(q, default), #entries / 2, bytes)
end
