-- Places in the failed store, and which of its jobs are meant. A place is an instant in ms, an
-- order inside that ms, and a stored id: what a cursor says.

-- As in failed.lua.
local SAME_INSTANT = 2048

local function score_of(ms, order)
  return string.format('%.17g', tonumber(ms) + tonumber(order) / SAME_INSTANT)
end

-- Instant and order of a score, as replies have them.
local function instant_of(score)
  local ms = math.floor(score)
  return string.format('%.0f', ms), math.floor((score - ms) * SAME_INSTANT)
end

-- Whether an id stands before another one of the same score, by bytes as the server has it;
-- Lua would compare as the locale does.
local function before(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then
      return a < b
    end
  end
  return #one < #other
end

-- How a reply tells of a job.
local function tell(q, answer, id, score, record, reason)
  local ms, order = instant_of(score)
  answer[#answer + 1] = id
  answer[#answer + 1] = record
  answer[#answer + 1] = call('HGET', q.attempts, id)
  answer[#answer + 1] = reason
  answer[#answer + 1] = ms
  answer[#answer + 1] = order
end
