-- Tells of the members of a queue: what they said of themselves, their life, and their leases.
--
-- KEYS
--   version   string  schema of the queue
--   members   zset    member -> end of its lease
--   seq       hash    member -> last number
--   info      hash    member -> `<lease, ms> <periodic tasks>\n<description>\n<limits>`
--   jobs      hash    stored id -> record
--   attempts  hash    stored id -> `<retries>,<losses>,<direct-only>`
--   running:<member>  hash  stored id -> token, of each member below
-- ARGV
--   1 clock offset, ms   2 schema   3 most leases that are told of a member
--   4 most bytes of records that are read   then members
-- Reply
--   {'APPLIED', now in ms, all members, of each member: nil, or end of its lease, whether it is
--    alive, info, count of leases, the oldest of them: stored id, token, task or nil, attempts or
--    nil for each}
--   {'VERSION', schema found}
local NAMES = {'version', 'members', 'seq', 'info', 'jobs', 'attempts'}
-- Read at once, so that large records do not fill the memory of the server.
local AT_ONCE = 20
-- More than any number of a lease.
local BUFFERED = 2 ^ 52
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local most, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])

local other = foreign(q, ARGV[2])
if other then
  return {'VERSION', other}
end

-- Jobs that idle threads were given come before those in buffers, each kind the oldest first.
local function rank_of(token)
  local number = tonumber(string.match(token, '%d+'))
  return string.sub(token, 1, 1) == 'd' and number or number + BUFFERED
end

-- Tasks of some jobs, false where a record cannot be read, or is not, since there are too many.
local function tasks_of(ids)
  local tasks = {}
  for i = 1, #ids, AT_ONCE do
    local last = math.min(i + AT_ONCE - 1, #ids)
    local records = bytes > 0 and call('HMGET', q.jobs, unpack(ids, i, last)) or {}
    for j = i, last do
      local record = records[j - i + 1]
      bytes = bytes - #(record or '')
      tasks[j] = bytes >= 0 and task_of(record)
    end
  end
  return tasks
end

local function leases_of(member, key)
  local leases, count = first_leases({[member] = key}, most, rank_of)
  local ids, told = {}, {}
  for i = 1, #leases do
    ids[i] = leases[i][1]
  end
  local tasks, attempts = tasks_of(ids), fields_of(q.attempts, ids)
  for i = 1, #ids do
    local n = #told
    told[n + 1], told[n + 2], told[n + 3], told[n + 4] = ids[i], leases[i][2], tasks[i], attempts[i]
  end
  return count, told
end

local answers = {}
for i = 5, #ARGV do
  local member = ARGV[i]
  local ends = tonumber(call('ZSCORE', q.members, member))
  if ends then
    local alive = ends >= now and call('HEXISTS', q.seq, member) == 1
    local count, told = leases_of(member, KEYS[#NAMES + i - 4])
    answers[#answers + 1] = {ends, alive and 1 or 0, call('HGET', q.info, member) or '', count, told}
  else
    answers[#answers + 1] = false
  end
end
return {'APPLIED', now, call('ZRANGE', q.members, 0, -1), answers}
