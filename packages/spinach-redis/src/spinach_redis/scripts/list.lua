-- Lists jobs of a queue, a page at a time.
--
-- Jobs of one place are read where that keeps them in order: leased, future, failed. All others
-- are read by the server's own order of `jobs`, which does not change when a job moves: HSCAN
-- tells each that is there all the while. What it brings beyond a page goes into the cursor, by
-- its ids. A hash so small that one scan brings it all is read in the order of its ids. Where it
-- has grown beyond that until the next page, the scan begins, and passes over what was told so.
--
-- KEYS
--   version, jobs, ready, future, attempts, members, info, held, held-ends, parked, parked-ends,
--   failed, errors, cancelled, cancelling, progress, guard   see keys.py
--   running:<member>     of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 schema   3 age of failed jobs by default, ms   4 most bytes; one larger
--   job comes alone   5 places, with spaces between, or ''   6 task or ''   7 most jobs
--   8 count of members, the members
--   then where to go on, nothing to begin: a kind, and what the reply said of it
-- Reply
--   {'APPLIED', jobs: see look.lua, where to go on: its kind and the rest, {} at the end}
--     small: last id   scan: the same or '', cursor of HSCAN or '', ids to look at first
--     leased: number of the last lease   sorted: score and id of the last job
--   {'KEYS', members}: their keys are needed
--   {'VERSION', schema found}
local NAMES = {'version', 'jobs', 'ready', 'future', 'attempts', 'members', 'info', 'held',
  'held-ends', 'parked', 'parked-ends', 'failed', 'errors', 'cancelled', 'cancelling', 'progress',
  'guard'}
-- Jobs that one call looks at, and of which it reads the records at once; and how often it asks a
-- member whether it has a job.
local MOST_LOOKED, AT_ONCE, MOST_ASKED = 500, 20, 2500
local q = named(NAMES, 0)
local oldest = now_ms(ARGV[1]) - bounds_in_force(q, {0, tonumber(ARGV[3]), 0})[2]
local most_bytes, place, task = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local places = {}
for each in string.gmatch(place, '%S+') do
  places[each] = true
end
local limit = tonumber(ARGV[7])
local known = {}
for i = 1, tonumber(ARGV[8]) do
  known[i] = ARGV[8 + i]
end
local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
local running, members = keys_of_members(q, known, #NAMES)
if not running then
  return {'KEYS', members}
end
local at = 9 + #known
local kind = ARGV[at]

local answer, bytes, looked, asked = {}, 0, 0, 0
-- Stored id -> member, where that is known before.
local holder_of

local function enough()
  return #answer >= limit or looked >= MOST_LOOKED or asked >= MOST_ASKED
end

-- The keys of the members that may have one of some jobs.
local function keys_for(ids)
  if not (place == '' or places.ready or places.leased) then
    -- It is in none of the places then, whichever of these two it is in.
    return {}, 0
  end
  if not holder_of then
    return running, #known
  end
  local keys, count = {}, 0
  for i = 1, #ids do
    local member = holder_of[ids[i]]
    if not keys[member] then
      keys[member], count = running[member], count + 1
    end
  end
  return keys, count
end

local function wanted(job)
  return (place == '' or places[job[4]]) and not (job[14] and tonumber(job[14]) < oldest)
end

-- Those of some ids whose jobs are of the task: others need no further look.
local function of_task(ids)
  if task == '' then
    return ids
  end
  local records, ours = fields_of(q.jobs, ids), {}
  for i = 1, #ids do
    if task_of(records[i]) == task then
      ours[#ours + 1] = ids[i]
    end
  end
  return ours
end

-- Looks at jobs in order; returns how many of them were dealt with. The page is full, or it was
-- looked at enough, where these are not all.
local function deal_with(ids)
  local done = 0
  while done < #ids do
    if enough() then
      return done
    end
    local all = {unpack(ids, done + 1, math.min(#ids, done + AT_ONCE))}
    local some = of_task(all)
    local keys, members_asked = keys_for(some)
    asked = asked + members_asked * #some
    local found, next_ = look(q, some, keys, false), 1
    for i = 1, #all do
      local job = found[next_]
      if job and job[1] == all[i] then
        next_ = next_ + 1
        if wanted(job) then
          local size = #job[2] + #(job[15] or '')
          if #answer >= limit or (#answer > 0 and bytes + size > most_bytes) then
            limit = #answer
            return done
          end
          bytes = bytes + size
          answer[#answer + 1] = job
        end
      end
      done, looked = done + 1, looked + 1
    end
  end
  return done
end

local function rest_of(ids, done)
  local rest = {}
  for i = done + 1, #ids do
    rest[#rest + 1] = ids[i]
  end
  return rest
end

local function ids_of(flat)
  local ids = {}
  for i = 1, #flat, 2 do
    ids[#ids + 1] = flat[i]
  end
  return ids
end

local function from_leases()
  local last, ids = tonumber(ARGV[at + 1] or -1), {}
  local leases = first_leases(running, MOST_LOOKED + 1, function(token)
    local number = tonumber(string.match(token, '%d+'))
    return number > last and number
  end)
  holder_of = {}
  for i = 1, #leases do
    ids[i] = leases[i][1]
    holder_of[ids[i]] = leases[i][3]
  end
  local done = deal_with(ids)
  if done == #ids then
    return {}
  end
  return {'leased', string.format('%.0f', done > 0 and leases[done][4] or last)}
end

local function from_sorted(key)
  local rank, score, id = 0, ARGV[at + 1], ARGV[at + 2]
  if score then
    if tonumber(call('ZSCORE', key, id)) == tonumber(score) then
      rank = call('ZRANK', key, id) + 1
    else
      rank = call('ZCOUNT', key, '-inf', '(' .. score)
    end
  end
  if key == q.failed then
    rank = math.max(rank, call('ZCOUNT', key, '-inf', string.format('(%.0f', oldest)))
  end
  while true do
    local flat = call('ZRANGE', key, rank, rank + AT_ONCE - 1, 'WITHSCORES')
    local ids = ids_of(flat)
    local done = deal_with(ids)
    if done > 0 then
      score, id = flat[2 * done], flat[2 * done - 1]
    end
    if done < #ids then
      return score and {'sorted', score, id} or {}
    end
    if #ids < AT_ONCE then
      return {}
    end
    rank = rank + #ids
  end
end

-- Those of some ids that come behind one; all of them behind ''.
local function behind(ids, last)
  local rest = {}
  for i = 1, #ids do
    if ids[i] > last then
      rest[#rest + 1] = ids[i]
    end
  end
  return rest
end

local function from_all()
  local pending, scan = {}, kind == 'scan' and ARGV[at + 2] or '0'
  -- The last id that was told while the hash was small: all up to it were.
  local told = kind and ARGV[at + 1] or ''
  if kind == 'scan' then
    for i = at + 3, #ARGV do
      pending[#pending + 1] = ARGV[i]
    end
  end
  while true do
    local done = deal_with(pending)
    if done < #pending or (scan ~= '' and enough()) then
      return {'scan', told, scan, unpack(rest_of(pending, done))}
    end
    if scan == '' then
      return {}
    end
    local began = scan
    local reply = call('HSCAN', q.jobs, scan, 'COUNT', AT_ONCE)
    scan, pending = reply[1] ~= '0' and reply[1] or '', behind(ids_of(reply[2]), told)
    if began == '0' and scan == '' then
      -- All of them. Cut at the same id, whatever came and went.
      table.sort(pending)
      done = deal_with(pending)
      if done == #pending then
        return {}
      end
      return {'small', done > 0 and pending[done] or told}
    end
  end
end

local go_on
if place == 'leased' then
  go_on = from_leases()
elseif place == 'future' then
  go_on = from_sorted(q.future)
elseif place == 'failed' then
  go_on = from_sorted(q.failed)
else
  go_on = from_all()
end
return {'APPLIED', answer, go_on}
