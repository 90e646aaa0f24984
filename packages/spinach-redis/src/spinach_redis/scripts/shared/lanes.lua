-- Lanes: first-in-first-out lines of stored ids, any number of them in two hashes. One has the
-- jobs, `<lane>|<number>` -> stored id; the other one the ends of each lane that is not empty,
-- lane -> `<number of the first> <number of the last>`. Jobs join at either end.

-- A lane by its name: `entries` and `ends` are the two keys.
local function lane_of(entries, ends, name)
  local first, last = string.match(call('HGET', ends, name) or '', '^(%-?%d+) (%-?%d+)$')
  return {entries = entries, ends = ends, name = name,
    first = tonumber(first) or 1, last = tonumber(last) or 0}
end

local function length_of(lane)
  return lane.last - lane.first + 1
end

local function write_ends(lane)
  if lane.first > lane.last then
    call('HDEL', lane.ends, lane.name)
  else
    call('HSET', lane.ends, lane.name, string.format('%.0f %.0f', lane.first, lane.last))
  end
end

-- The fields of `count` jobs from a number on.
local function fields_from(lane, number, count)
  local fields = {}
  for i = 1, count do
    fields[i] = string.format('%s|%.0f', lane.name, number + i - 1)
  end
  return fields
end

-- The jobs first, then the ends: were the server to forget the second write, it would not
-- count jobs that are not there.
local function write_jobs(lane, number, ids)
  local fields, pairs_ = fields_from(lane, number, #ids), {}
  for i = 1, #ids do
    pairs_[2 * i - 1], pairs_[2 * i] = fields[i], ids[i]
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

-- The first jobs of a lane, at most `count`. One that a server forgot is '', which is no job.
local function head_of(lane, count)
  local ids = fields_of(lane.entries, fields_from(lane, lane.first, math.min(count, length_of(lane))))
  for i = 1, #ids do
    ids[i] = ids[i] or ''
  end
  return ids
end

-- Takes the first `count` jobs away.
local function drop_head(lane, count)
  local fields = fields_from(lane, lane.first, count)
  lane.first = lane.first + count
  write_ends(lane)
  many('HDEL', lane.entries, fields)
end
