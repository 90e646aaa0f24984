-- Moves jobs of the older spinach into a queue: out of a place of its own and into one of
-- these, at once, so that a job is never in both and never in none (I1).
--
-- KEYS
--   place         list, zset or hash of the older spinach, which holds jobs as JSON
--   version       string  schema of the queue; written here if absent
--   jobs          hash    stored id -> record
--   ready         list    stored ids
--   future        zset    stored id -> due
--   retrying      set     ids of `future` that wait for a retry
--   attempts      hash    stored id -> `<retries>,<losses>,<direct-only>`
--   timekeeper    string  ends when an earlier instant comes in
--   marker        zset    wake-up
--   paused        string  no wake-up while it exists
--   enqueued      string  counter
--   failed        zset    stored id -> instant
--   errors        hash    stored id -> reason
--   failed-bytes  string  size of records and reasons of the failed
--   guard         hash    the bounds in force, see retention.lua
-- ARGV
--   1 clock offset, ms   2 schema   3 to 5 bounds by default: number, age in ms, bytes
--   then for each job: what the place holds, its field (of a hash), stored id, record, due in
--   ms since 1970 or '', retries spent, losses, reason why it failed or ''
-- Reply
--   {'OK', one character a job: 1 moved, 0 no longer in the place}
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'jobs', 'ready', 'future', 'retrying', 'attempts', 'timekeeper',
  'marker', 'paused', 'enqueued', 'failed', 'errors', 'failed-bytes', 'guard'}
local FIRST, WIDTH = 6, 8
local q = named(NAMES, 1)
local place = KEYS[1]
local kind = call('TYPE', place).ok
local now = now_ms(ARGV[1])

local other = other_schema(q, ARGV[2])
if other then
  return {'VERSION', other}
end

local function holds(item, field)
  if kind == 'list' then
    return call('LPOS', place, item)
  elseif kind == 'zset' then
    return call('ZSCORE', place, item)
  end
  return kind == 'hash' and call('HGET', place, field) == item
end

local flags, found = {}, {}
local jobs, ready, failures, attempts, retrying = {}, {}, {}, {}, {}
for i = FIRST, #ARGV, WIDTH do
  local there = holds(ARGV[i], ARGV[i + 1])
  flags[#flags + 1] = there and '1' or '0'
  if there then
    found[#found + 1] = i
    local id, due = ARGV[i + 2], tonumber(ARGV[i + 4])
    -- A job that is stored under this id already keeps what it spent.
    if call('HEXISTS', q.jobs, id) == 0 then
      local retries, losses = tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6])
      if retries > 0 or losses > 0 then
        attempts[#attempts + 1] = id
        attempts[#attempts + 1] = attempts_text(retries, losses, false)
      end
      if ARGV[i + 7] ~= '' then
        failures[#failures + 1] = id
        failures[#failures + 1] = ARGV[i + 7]
        -- A full server refuses it before anything else is written.
        call('HSET', q.jobs, id, ARGV[i + 3])
      else
        local waits = due and due > now
        jobs[#jobs + 1] = id
        jobs[#jobs + 1] = ARGV[i + 3]
        jobs[#jobs + 1] = ARGV[i + 4]
        ready[#ready + 1] = waits and '0' or '1'
        if waits and retries > 0 then
          retrying[#retrying + 1] = id
        end
      end
    end
  end
end

deposit(q, jobs, 1, ready)
fail(q, now, failures, {tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])})
many('HSET', q.attempts, attempts)
many('SADD', q.retrying, retrying)
if #found > 0 then
  call('INCRBY', q.enqueued, #failures / 2)
end
for j = 1, #found do
  local i = found[j]
  if kind == 'list' then
    call('LREM', place, 1, ARGV[i])
  elseif kind == 'zset' then
    call('ZREM', place, ARGV[i])
  else
    call('HDEL', place, ARGV[i + 1])
  end
end
return {'OK', table.concat(flags)}
