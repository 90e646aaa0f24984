-- Stores a chunk of jobs of one queue, once however often it is sent (I2).
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
local q = named(NAMES, 0)
local session = KEYS[#NAMES + 1]
local now = now_ms(ARGV[1])
local number = tonumber(ARGV[3])
local last = tonumber(call('GET', session) or 0)

if number > last + 1 then
  return {'GAP'}
end
local jobs, flags = {}, {}
for i = 5, #ARGV do
  jobs[i - 4] = ARGV[i]
end
for i = 3, #jobs, 3 do
  flags[i / 3] = (tonumber(jobs[i]) or 0) > now and '0' or '1'
end
if number > last then
  if last == 0 then
    local version = call('GET', q.version)
    if version and version ~= ARGV[2] then
      return {'VERSION', version}
    end
    call('SET', q.version, ARGV[2])
  end
  deposit(q, now, jobs)
  call('SET', session, number, 'PX', ARGV[4])
else
  -- A repeat. Replicas that confirm this write have the chunk, too.
  call('PEXPIRE', session, ARGV[4])
end
return {'OK', table.concat(flags)}
