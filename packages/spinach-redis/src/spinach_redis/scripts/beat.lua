-- Proves the life of a member: its lease starts anew.
--
-- KEYS
--   members  zset  member -> end of its lease
--   seq      hash  member -> last number
--   info     hash  member -> `<lease, ms> ...`
--   guard    hash  see members.lua
--   cancelling, progress   hash, hash: see leased.lua
--   running:<member>       hash  stored id -> token
--   results, results-until, awaited   see results.lua
--   jobs, failed, enqueued, flow   for a sample, see flow.lua
-- ARGV
--   1 clock offset, ms   2 member   then for each job that tells of itself: stored id, token,
--   `<done> <total> <note>`; a full server leaves that out
-- Reply
--   {'APPLIED', member to recover or nil, whether the server is full, leases of the member whose
--   cancel was asked for: stored id, token of each, a bounded number}
--   {'FENCED'}
local NAMES = {'members', 'seq', 'info', 'guard', 'cancelling', 'progress', 'results',
  'results-until', 'awaited', 'jobs', 'failed', 'enqueued', 'flow'}
-- Leases to cancel that one answer names.
local CANCELS_TOLD = 1000
-- Ends of jobs that it drops, beside those that each call does. Reports may have stopped coming.
local TRIM_MORE = 900
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local member = ARGV[2]
local running = KEYS[#NAMES + 1]

-- Keeps what jobs tell of themselves, of leases that are current.
local function keep_progress()
  local ids, entries = {}, {}
  for i = 3, #ARGV, 3 do
    ids[#ids + 1] = ARGV[i]
  end
  local tokens = fields_of(running, ids)
  for i = 1, #ids do
    if tokens[i] == ARGV[3 * i + 1] then
      entries[#entries + 1], entries[#entries + 2] = ids[i], ARGV[3 * i + 2]
    end
  end
  many('HSET', q.progress, entries)
  note_number(q, 'progress')
end

-- The leases of the member whose cancel was asked for. Those of others may be many more.
local function to_cancel()
  local leases, ids, pairs_ = call('HGETALL', running), {}, {}
  for i = 1, #leases, 2 do
    ids[#ids + 1] = leases[i]
  end
  local asked = asked_of(q, ids)
  for i = 1, #leases, 2 do
    if asked[leases[i]] and #pairs_ < 2 * CANCELS_TOLD then
      pairs_[#pairs_ + 1], pairs_[#pairs_ + 2] = leases[i], leases[i + 1]
    end
  end
  return pairs_
end

local full = is_full(q.members)
if full then
  admit_when_full(q.members)
end
local pause = step(q, now)
if call('HEXISTS', q.seq, member) == 0 then
  return {'FENCED'}
end
call('ZADD', q.members, now + lease_of(q, member), member)
if ARGV[3] and not full then
  keep_progress()
end
-- Results are trimmed here as well, since the next end may be far away, or never come.
if take_sample(q, now) and call('EXISTS', q['results-until'], q.awaited) > 0 then
  trim_results(q, now, TRIM_MORE)
end
return {'APPLIED', name_dead(q, member, now, pause), full and 1 or 0,
  q.has_cancelling and to_cancel() or {}}
