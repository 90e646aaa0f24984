-- Shared by every script: time, keys, and commands with many arguments.

local call = redis.call

-- Redis' Lua refuses to unpack much more than 8000 values at once.
local PORTION = 1000

-- Server time in ms since 1970, rounded down, and rounded up for what durations are
-- added to, so that none is cut short (I8); and in us, for what tells how long is left.
-- The offset is 0 outside tests.
local function now_ms(offset)
  local time = call('TIME')
  local ms = time[1] * 1000 + tonumber(offset)
  return ms + math.floor(time[2] / 1000), ms + math.ceil(time[2] / 1000), ms * 1000 + time[2]
end

-- Us until an instant in ms, 0 when it has come: what is due at a whole ms is due as soon
-- as the time rounded down says so. Replies carry whole numbers, and a worker that was told
-- whole ms slept half of one too long. What is centuries away would not fit into a reply, so
-- it is given as less: a worker asks again when that time has passed.
local MOST_US = 2 ^ 53
local function until_us(instant, now_us)
  return math.min(math.max(0, instant * 1000 - now_us), MOST_US)
end

-- The keys after position `at`, under their names.
local function named(names, at)
  local q = {}
  for i = 1, #names do
    q[names[i]] = KEYS[at + i]
  end
  return q
end

-- One command over any number of values; pairs stay together.
local function many(command, key, values)
  for i = 1, #values, PORTION do
    call(command, key, unpack(values, i, math.min(i + PORTION - 1, #values)))
  end
end

-- HMGET of any number of fields.
local function fields_of(key, fields)
  if #fields == 0 then
    return {}
  end
  if #fields <= PORTION then
    return call('HMGET', key, unpack(fields))
  end
  local values = {}
  for i = 1, #fields, PORTION do
    local part = call('HMGET', key, unpack(fields, i, math.min(i + PORTION - 1, #fields)))
    for j = 1, #part do
      values[i + j - 1] = part[j]
    end
  end
  return values
end

-- Ids to the front of a list, the first of them first.
local function to_front(key, ids)
  local reversed = {}
  for i = #ids, 1, -1 do
    reversed[#reversed + 1] = ids[i]
  end
  many('LPUSH', key, reversed)
end

-- A full server refuses commands that need memory, unless the script has written
-- before. What drains the queue writes this first: it needs none and changes nothing,
-- as the keys that expire are others. A fetch deletes the marker instead.
local function admit_when_full(key)
  call('PERSIST', key)
end

-- Whether the server is full; `key` is a sorted set. A command that may need memory is refused
-- then, as long as nothing was written before. This one changes nothing, since '' is no name.
local function is_full(key)
  local answer = redis.pcall('ZADD', key, 'XX', 0, '')
  return type(answer) == 'table' and string.find(answer.err or '', 'OOM', 1, true) ~= nil
end
