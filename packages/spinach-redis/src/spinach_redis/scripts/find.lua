-- Looks for jobs by their ids.
--
-- KEYS
--   version, jobs, ready, future, attempts, members, info, held, held-ends, parked, parked-ends,
--   failed, errors, cancelled, cancelling, progress, guard   see keys.py
--   running:<member>     of each member that the caller knows
-- ARGV
--   1 clock offset, ms   2 schema   3 age of failed jobs by default, ms   4 most bytes; one larger
--   job comes alone   5 count of members, the members   then the stored ids
-- Reply
--   {'APPLIED', how many of the ids were looked for, the jobs: see look.lua}
--   {'KEYS', members}: their keys are needed
--   {'VERSION', schema found}
local NAMES = {'version', 'jobs', 'ready', 'future', 'attempts', 'members', 'info', 'held',
  'held-ends', 'parked', 'parked-ends', 'failed', 'errors', 'cancelled', 'cancelling', 'progress',
  'guard'}
-- Looked for at once, so that large records do not fill the memory of the server.
local AT_ONCE = 20
local q = named(NAMES, 0)
local oldest = now_ms(ARGV[1]) - bounds_in_force(q, {0, tonumber(ARGV[3]), 0})[2]
local most_bytes = tonumber(ARGV[4])
local known = {}
for i = 1, tonumber(ARGV[5]) do
  known[i] = ARGV[5 + i]
end
local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end
local running, members = keys_of_members(q, known, #NAMES)
if not running then
  return {'KEYS', members}
end
local first = 6 + #known
local answer, bytes, looked = {}, 0, 0
while first + looked <= #ARGV do
  local ids = {}
  for i = first + looked, math.min(#ARGV, first + looked + AT_ONCE - 1) do
    ids[#ids + 1] = ARGV[i]
  end
  local found = look(q, ids, running, true)
  for i = 1, #found do
    bytes = bytes + #found[i][2] + #(found[i][15] or '')
  end
  if looked > 0 and bytes > most_bytes then
    break
  end
  looked = looked + #ids
  for i = 1, #found do
    if not found[i][14] or tonumber(found[i][14]) >= oldest then
      answer[#answer + 1] = found[i]
    end
  end
end
return {'APPLIED', looked, answer}
