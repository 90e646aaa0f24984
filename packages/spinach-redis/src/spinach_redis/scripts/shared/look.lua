-- Where jobs are, for people who look for them.

-- Most jobs of a line that are counted before one.
local MOST_COUNTED = 1000

-- How many of the first `count` ids of `ready` are jobs.
local function jobs_in_head(q, count)
  if count == 0 or call('EXISTS', q.cancelled) == 0 then
    return count
  end
  local flags, gaps = call('SMISMEMBER', q.cancelled, unpack(call('LRANGE', q.ready, 0, count - 1))), 0
  for i = 1, #flags do
    gaps = gaps + flags[i]
  end
  return count - gaps
end

-- How many jobs stand before one in `ready`, and whether that is the number.
local function before_in_ready(q, id)
  local at = call('LPOS', q.ready, id, 'MAXLEN', MOST_COUNTED)
  if at then
    return jobs_in_head(q, at), 1
  end
  return jobs_in_head(q, math.min(MOST_COUNTED, call('LLEN', q.ready))), 0
end

-- The same in a lane; also the name of the lane.
local function before_in_lane(entries, ends, where)
  local name, number = string.match(where, '^(.*)|(%-?%d+)$')
  local lane = lane_of(entries, ends, name)
  local count = tonumber(number) - lane.first
  if lane.holes == 0 then
    return name, count, 1
  end
  if count > MOST_COUNTED then
    return name, math.max(0, count - lane.holes), 0
  end
  local found, jobs = fields_of(entries, fields_from(lane, lane.first, count)), 0
  for i = 1, count do
    jobs = jobs + (found[i] and 1 or 0)
  end
  return name, jobs, 1
end

-- Which members have some jobs, and by which tokens, by position. This asks each member, so it is
-- asked for no job that is known to be in another place, or not to be there.
local function members_of(running, ids, records, ...)
  local left, positions, member_of, token_of = {}, {}, {}, {}
  for i = 1, #ids do
    local elsewhere = not records[i]
    for _, place in ipairs({...}) do
      elsewhere = elsewhere or place[i]
    end
    if not elsewhere then
      left[#left + 1], positions[#positions + 1] = ids[i], i
    end
  end
  for member, key in pairs(#left > 0 and running or {}) do
    local tokens = fields_of(key, left)
    for j = 1, #left do
      if tokens[j] then
        member_of[positions[j]], token_of[positions[j]] = member, tokens[j]
      end
    end
  end
  return member_of, token_of
end

-- Looks at some jobs, PORTION at most. `running` has the key of each member; `counting`: also how
-- many jobs stand before each. Returns, for each that is there, {id, record, attempts, place,
-- ahead or false, whether that is the number, lane, due, member, its info, token, whether its
-- cancel was asked for, progress, instant it failed, reason}, in the order of the ids.
local function look(q, ids, running, counting)
  if #ids == 0 then
    return {}
  end
  local records, attempts = fields_of(q.jobs, ids), fields_of(q.attempts, ids)
  local due, failed = call('ZMSCORE', q.future, unpack(ids)), call('ZMSCORE', q.failed, unpack(ids))
  local held, parked = fields_of(q.held, ids), fields_of(q.parked, ids)
  local member_of, token_of = members_of(running, ids, records, due, failed, held, parked)
  local asked, progress = fields_of(q.cancelling, ids), fields_of(q.progress, ids)
  local found = {}
  for i = 1, #ids do
    local id = ids[i]
    if records[i] then
      local place, lane, ahead, exact = 'ready', '', false, 0
      if failed[i] then
        place, exact = 'failed', 1
      elseif token_of[i] then
        place, exact = 'leased', 1
      elseif due[i] then
        place = 'future'
        if counting then
          ahead, exact = call('ZRANK', q.future, id), 1
        end
      elseif held[i] then
        place, lane = 'held', string.match(held[i], '^(.*)|')
        if counting then
          lane, ahead, exact = before_in_lane(q.held, q['held-ends'], held[i])
        end
      elseif parked[i] then
        place, lane = 'parked', string.match(parked[i], '^(.*)|')
        if counting then
          lane, ahead, exact = before_in_lane(q.parked, q['parked-ends'], parked[i])
        end
      elseif counting then
        ahead, exact = before_in_ready(q, id)
      end
      found[#found + 1] = {id, records[i], attempts[i], place, ahead, exact, lane,
        due[i] and string.format('%.0f', math.floor(tonumber(due[i]))) or false,
        member_of[i] or false, member_of[i] and call('HGET', q.info, member_of[i]) or false,
        token_of[i] or false, asked[i] and 1 or 0, progress[i],
        failed[i] and string.format('%.0f', math.floor(tonumber(failed[i]))) or false,
        failed[i] and call('HGET', q.errors, id) or false}
    end
  end
  return found
end

-- The key of each member, by name, or false where one is not declared. `known` are the members
-- whose keys are in KEYS from `at` on.
local function keys_of_members(q, known, at)
  local keys, running, members = {}, {}, call('ZRANGE', q.members, 0, -1)
  for i = 1, #known do
    keys[known[i]] = KEYS[at + i]
  end
  for i = 1, #members do
    if not keys[members[i]] then
      return false, members
    end
    running[members[i]] = keys[members[i]]
  end
  return running, members
end
