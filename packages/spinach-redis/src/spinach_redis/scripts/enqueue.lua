-- Stores a chunk of jobs of one queue, once however often it is sent (I2). One ready job under
-- the next number has been stored by shared/single.lua, which takes the keys by position.
--
-- KEYS, in this order; those without a remark are told in keys.py
--   version     string  schema of the queue; written here if absent
--   jobs        hash    stored id -> record
--   ready       list    stored ids
--   future      zset    stored id -> due
--   timekeeper  string  ends when an earlier instant comes in
--   marker      zset    wake-up
--   paused      string  no wake-up while it exists
--   enqueued    string  counter
--   producer:<session>  string  last number applied
-- ARGV
--   1 clock offset, ms   2 schema   3 number   4 life of the session, ms
--   then for each job: stored id, record, due in ms since 1970 or ''
-- Reply
--   {'OK', one character a job: 1 ready, 0 waiting}
--   {'GAP'}: an earlier number is missing, nothing was done
--   {'VERSION', schema found}: nothing was done
local NAMES = {'version', 'jobs', 'ready', 'future', 'timekeeper', 'marker', 'paused', 'enqueued'}
local FIRST = 5
local q = named(NAMES, 0)
local session = KEYS[#NAMES + 1]
local number = tonumber(ARGV[3])
local last = tonumber(call('GET', session) or 0)

if number > last + 1 then
  return {'GAP'}
end
local now
local flags = {}
for i = FIRST + 2, #ARGV, 3 do
  local due = tonumber(ARGV[i])
  -- Jobs without one need no look at the clock.
  now = now or (due and now_ms(ARGV[1]))
  flags[#flags + 1] = due and due > now and '0' or '1'
end
if number > last then
  if last == 0 then
    local other = other_schema(q, ARGV[2])
    if other then
      return {'VERSION', other}
    end
  end
  deposit(q, ARGV, FIRST, flags)
  call('SET', session, number, 'PX', ARGV[4])
else
  -- A repeat. Replicas that confirm this write have the chunk, too.
  call('PEXPIRE', session, ARGV[4])
end
return {'OK', table.concat(flags)}
