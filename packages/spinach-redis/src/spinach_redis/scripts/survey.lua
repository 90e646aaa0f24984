-- Tells what the counts do not: whether a queue is paused, its first ready job, and its samples.
--
-- KEYS
--   version   string  schema of the queue
--   jobs      hash    stored id -> record
--   ready     list    stored ids
--   paused    string  nothing is handed out while it exists
--   failed    zset    stored id -> instant
--   enqueued  string  counter
--   flow      hash    see flow.lua
-- ARGV
--   1 clock offset, ms   2 schema
-- Reply
--   {'APPLIED', now in ms, whether it is paused, record of the first ready job or nil, how many
--    came and how many ended ever, the fields of `flow`}
--   {'VERSION', schema found}
local NAMES = {'version', 'jobs', 'ready', 'paused', 'failed', 'enqueued', 'flow'}
-- Ids at the head of `ready` among which the first one with a record is looked for.
local FIRST_IDS = 100
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
local ids, first = call('LRANGE', q.ready, 0, FIRST_IDS - 1), false
for i = 1, #ids do
  first = call('HGET', q.jobs, ids[i])
  if first then
    break
  end
end
local came, ended = came_and_ended(q)
return {'APPLIED', now, call('EXISTS', q.paused), first, came, ended, call('HGETALL', q.flow)}
