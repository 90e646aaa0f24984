-- Shared by every script: time, keys, and commands with many arguments.

local call = redis.call

-- Redis' Lua refuses to unpack much more than 8000 values at once.
local PORTION = 1000

-- Server time in ms since 1970; the offset is 0 outside tests.
local function now_ms(offset)
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(offset)
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

-- `<ms> <name>`: a claim that ends. One that ends later than any claim can was
-- made before the server's clock was set back, and counts as over.
local function claim_of(text, now, length)
  if not text then
    return nil
  end
  local ends, name = string.match(text, '^(%d+) (.*)$')
  ends = tonumber(ends)
  if ends <= now or ends > now + length then
    return nil
  end
  return name, ends
end

local function claim_text(name, ends)
  return string.format('%.0f %s', ends, name)
end
