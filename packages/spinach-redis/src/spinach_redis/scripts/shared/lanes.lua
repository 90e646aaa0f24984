-- Lanes: first-in-first-out lines of stored ids, any number of them in two hashes. One has the
-- jobs, `<lane>|<number>` -> stored id, and where each of them is, stored id -> `<lane>|<number>`.
-- The other one has the ends of each lane that is not empty, lane -> `<number of the first>
-- <number of the last>`, and behind them how many numbers between them are holes, if any are.
-- Jobs join at either end. One that is cancelled leaves a hole.

-- Most holes that one call passes over, beside PORTION of each lane; it takes a few ms.
local MOST_HOLES = 1000
local holes_passed = 0

-- A lane by its name: `entries` and `ends` are the two keys.
local function lane_of(entries, ends, name)
  local first, last, holes = string.match(call('HGET', ends, name) or '',
    '^(%-?%d+) (%-?%d+) ?(%d*)$')
  return {entries = entries, ends = ends, name = name,
    first = tonumber(first) or 1, last = tonumber(last) or 0, holes = tonumber(holes) or 0}
end

local function length_of(lane)
  return math.max(0, lane.last - lane.first + 1 - lane.holes)
end

local function write_ends(lane)
  if length_of(lane) == 0 then
    lane.first, lane.holes = lane.last + 1, 0
    call('HDEL', lane.ends, lane.name)
  elseif lane.holes > 0 then
    call('HSET', lane.ends, lane.name,
      string.format('%.0f %.0f %.0f', lane.first, lane.last, lane.holes))
  else
    call('HSET', lane.ends, lane.name, string.format('%.0f %.0f', lane.first, lane.last))
  end
end

local function field_of(lane, number)
  return string.format('%s|%.0f', lane.name, number)
end

-- The fields of `count` jobs from a number on.
local function fields_from(lane, number, count)
  local fields = {}
  for i = 1, count do
    fields[i] = field_of(lane, number + i - 1)
  end
  return fields
end

-- The jobs first, then the ends: were the server to forget the second write, it would not
-- count jobs that are not there.
local function write_jobs(lane, number, ids)
  local fields, pairs_ = fields_from(lane, number, #ids), {}
  for i = 1, #ids do
    pairs_[4 * i - 3], pairs_[4 * i - 2] = fields[i], ids[i]
    pairs_[4 * i - 1], pairs_[4 * i] = ids[i], fields[i]
  end
  many('HSET', lane.entries, pairs_)
  write_ends(lane)
end

-- Jobs to the end of a lane, the first of them first.
local function append(lane, ids)
  if #ids > 0 then
    lane.last = lane.last + #ids
    write_jobs(lane, lane.last - #ids + 1, ids)
  end
end

-- Jobs to the front of a lane, the first of them first.
local function prepend(lane, ids)
  if #ids > 0 then
    lane.first = lane.first - #ids
    write_jobs(lane, lane.first, ids)
  end
end

-- The first jobs of a lane, at most `count`, and their numbers. Holes are passed over, and what
-- a server forgot, as far as the call may.
local function head_of(lane, count)
  local ids, numbers, number = {}, {}, lane.first
  while #ids < count and number <= lane.last
      and (number == lane.first or holes_passed < MOST_HOLES) do
    local portion = lane.holes > 0 and PORTION or count - #ids
    portion = math.min(portion, lane.last - number + 1)
    local found = fields_of(lane.entries, fields_from(lane, number, portion))
    for i = 1, portion do
      if not found[i] then
        holes_passed = holes_passed + 1
      elseif #ids < count then
        ids[#ids + 1], numbers[#numbers + 1] = found[i], number + i - 1
      end
    end
    number = number + portion
  end
  lane.behind = number
  return ids, numbers
end

-- Takes the first `count` jobs away, of those that `head_of` answered. Where it found none, the
-- holes are gone.
local function drop_head(lane, ids, numbers, count)
  if count == 0 and #ids > 0 then
    return
  end
  local first = count > 0 and numbers[count] + 1 or lane.behind
  local fields = {}
  for i = 1, count do
    fields[2 * i - 1], fields[2 * i] = field_of(lane, numbers[i]), ids[i]
  end
  lane.holes = math.max(0, lane.holes - (first - lane.first - count))
  lane.first = first
  write_ends(lane)
  many('HDEL', lane.entries, fields)
end
