-- How many jobs came into a queue and how many ended, at some instants: samples, from which the
-- rates of the last minute and hour follow. Nothing is counted for a job. What came is `enqueued`
-- and the failed jobs that were run again; what ended is all of that which is not there any more.
-- Joins and beats take the samples, so a queue has them while workers live.
--
-- `flow` has the samples in two rings, of which each slot covers a span of the clock: FINE of
-- FINE_MS, and COARSE of COARSE_MS. A sample is `<instant> <came> <ended>`.
-- Beside them it counts the jobs that were `revived` and `purged`.

local FINE, FINE_MS = 7, 10000
local COARSE, COARSE_MS = 13, 300000

-- How many jobs came and how many ended, ever.
local function came_and_ended(q)
  local counted = call('HMGET', q.flow, 'revived', 'purged')
  local came = tonumber(call('GET', q.enqueued) or 0) + tonumber(counted[1] or 0)
  local there = call('HLEN', q.jobs) - call('ZCARD', q.failed)
  return came, came - there - tonumber(counted[2] or 0)
end

-- Takes a sample for each ring whose slot has none of this span yet. Whether it took any.
local function take_sample(q, now)
  local rings = {{'fine', FINE, FINE_MS}, {'coarse', COARSE, COARSE_MS}}
  local slots = {}
  for i = 1, 2 do
    local name, count, span = unpack(rings[i])
    slots[i] = string.format('%s-%d', name, math.floor(now / span) % count)
  end
  local found, stale = call('HMGET', q.flow, unpack(slots)), {}
  for i = 1, 2 do
    local taken, span = tonumber(string.match(found[i] or '', '^%d+')), rings[i][3]
    if not taken or math.floor(taken / span) ~= math.floor(now / span) then
      stale[#stale + 1] = slots[i]
    end
  end
  if #stale == 0 then
    return false
  end
  local came, ended = came_and_ended(q)
  local text = string.format('%.0f %.0f %.0f', now, came, ended)
  for i = 1, #stale do
    call('HSET', q.flow, stale[i], text)
  end
  return true
end
