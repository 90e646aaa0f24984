-- Ends leases of one queue (I5). Outcomes whose lease is not the job's current one
-- change nothing.
--
-- KEYS
--   jobs          hash    stored id -> record
--   ready         list    stored ids
--   future        zset    stored id -> due
--   retrying      set     those ids of `future` that wait for a retry
--   attempts      hash    stored id -> `<retries>,<losses>,<direct-only>`
--   timekeeper, marker, paused   for the wake-up, see wake.lua
--   failed        zset    stored id -> instant
--   errors        hash    stored id -> reason
--   failed-bytes  string  size of records and reasons of the failed
--   limits, declared, slots, held, held-ends, brought   see slots.lua
--   parked, parked-ends          hash, hash: the lane of each park, see lanes.lua
--   members, info, guard         see members.lua, and retention.lua
--   cancelling, progress         see leased.lua
--   running:<member>   hash  stored id -> token, of each member below
--   where ends are to be kept: results, results-until, awaited   see results.lua, and of each
--   such outcome, in order: result:<stored id>   list
-- ARGV
--   1 clock offset, ms   2 to 4 bounds by default: number, age in ms, bytes
--   5 count of members   6 count of tasks, the tasks
--   then for each run of outcomes that have these in common: kind, position of member,
--   position of task, count of outcomes, and of kinds in lower case the ms to keep the ends;
--   of each: stored id, token, detail of F, R, f, r and s
--     kind: S succeeded, expired or cancelled, F failed, R retry, L release, P park; where an
--     end is to be kept: s succeeded, x expired, c cancelled, f failed, r, l and p as above
--     detail: F and f the reason; R `+` and a delay in ms, or `=` and an instant in ms, then a
--     space and why the attempt failed where that is to be kept; s the encoded result
-- Reply
--   one character an outcome: 1 applied, 0 refused, 2 applied, and the job is cancelled, which would
--   have gone back to a queue
local NAMES = {'jobs', 'ready', 'future', 'retrying', 'attempts', 'timekeeper', 'marker', 'paused',
  'failed', 'errors', 'failed-bytes', 'limits', 'declared', 'slots', 'held', 'held-ends', 'brought',
  'parked', 'parked-ends', 'members', 'info', 'guard', 'cancelling', 'progress'}
local KEPT = {'results', 'results-until', 'awaited'}
local DETAILED = {F = true, R = true, f = true, r = true, s = true}
local q = named(NAMES, 0)
local now, now_up = now_ms(ARGV[1])
local bounds = {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])}

local members = {}
for i = 1, tonumber(ARGV[5]) do
  members[i] = {key = KEYS[#NAMES + i], asked = {}, ended = {}}
end
-- Each with its jobs, and those to park; `limited` where it has a limit.
local names, tasks = {}, {}
for i = 1, tonumber(ARGV[6]) do
  names[i] = ARGV[6 + i]
end
local overrides = fields_of(q.limits, names)
for i = 1, #names do
  tasks[i] = {task = names[i], override = overrides[i], limited = overrides[i] and true,
    jobs = {}, parked = {}}
end

-- Which outcomes count. `list` is the position of the key before the next list for an end.
local runs, a, list = {}, 7 + #tasks, #NAMES + #members + #KEPT
while ARGV[a] do
  local kind, member = ARGV[a], members[tonumber(ARGV[a + 1])]
  local width, keep_ms = DETAILED[kind] and 3 or 2, nil
  local first = a + 4
  -- A lower case letter. `<` would compare texts as the server's locale does.
  if string.byte(kind) >= 97 then
    kind, keep_ms, first = string.upper(kind), tonumber(ARGV[first]), first + 1
  end
  local past = first + width * tonumber(ARGV[a + 3])
  for i = first, past - 1, width do
    member.asked[#member.asked + 1] = ARGV[i]
  end
  runs[#runs + 1] = {kind = kind, member = member, task = tasks[tonumber(ARGV[a + 2])],
    width = width, first = first, past = past, keep_ms = keep_ms}
  a = past
end
for i = 1, #members do
  local member = members[i]
  local tokens = fields_of(member.key, member.asked)
  member.tokens = {}
  for j = 1, #tokens do
    member.tokens[member.asked[j]] = tokens[j]
  end
end

-- Also when nothing ends here: a repeat has to be answered.
admit_when_full(q.ready)
step(q, now)

-- Jobs that would go back to the queue although their cancel was asked for (I22).
local BACK = {R = true, L = true, P = true}
local asked = {}
for i = 1, q.has_cancelling and #members or 0 do
  for id in pairs(asked_of(q, members[i].asked)) do
    asked[id] = true
  end
end

-- Those that do, by kind.
local verdicts, accepted = {}, 0
local gone, released, returned, failures, retries, ends = {}, {}, {}, {}, {}, {}
local function accept(kind, task, id, detail)
  accepted = accepted + 1
  if task.limited then
    task.jobs[#task.jobs + 1] = id
  end
  if kind == 'S' or kind == 'X' or kind == 'C' or (asked[id] and BACK[kind]) then
    gone[#gone + 1] = id
  elseif kind == 'F' then
    failures[#failures + 1] = id
    failures[#failures + 1] = detail
  elseif kind == 'R' then
    local due, reason = string.match(detail, '^.(%-?%d+) ?(.*)$')
    due = tonumber(due)
    if string.sub(detail, 1, 1) == '+' then
      due = due > 0 and now_up + due or now
    end
    retries[#retries + 1] = {id, due, 0, reason}
  elseif kind == 'L' then
    released[#released + 1] = id
    if task.limited then
      returned[#returned + 1] = id
    end
  else
    task.parked[#task.parked + 1] = id
  end
end
for r = 1, #runs do
  local run = runs[r]
  local tokens, ended = run.member.tokens, run.member.ended
  for i = run.first, run.past - 1, run.width do
    local id, detail = ARGV[i], run.width == 3 and ARGV[i + 2]
    if run.keep_ms then
      list = list + 1
    end
    if tokens[id] == ARGV[i + 1] then
      tokens[id] = nil
      ended[#ended + 1] = id
      verdicts[#verdicts + 1] = asked[id] and BACK[run.kind] and '2' or '1'
      accept(run.kind, run.task, id, detail)
      if run.keep_ms and not BACK[run.kind] then
        ends[#ends + 1] = {id, run.kind .. (detail or ''), run.keep_ms, KEYS[list]}
      elseif run.keep_ms and asked[id] then
        ends[#ends + 1] = {id, 'C', run.keep_ms, KEYS[list]}
      end
    else
      verdicts[#verdicts + 1] = '0'
    end
  end
end

for i = 1, #members do
  many('HDEL', members[i].key, members[i].ended)
  forget_leased(q, members[i].ended)
end
if #verdicts > accepted then
  -- A repeat, perhaps. Replicas that confirm this write have the outcome, too.
  call('HSET', q.guard, 'seen', now)
end
many('HDEL', q.jobs, gone)
if call('EXISTS', q.attempts) == 1 then
  many('HDEL', q.attempts, gone)
end
for i = 1, #tasks do
  local task = tasks[i]
  if #task.jobs > 0 then
    task.n = in_force(q, task.task, task.override)
    free_slots(q, task, task.jobs)
  end
  if #task.parked > 0 then
    append(lane_of(q.parked, q['parked-ends'], task.task), task.parked)
  end
end
retry(q, now, retries)
fail(q, now, failures, bounds)
if #ends > 0 then
  for i = 1, #KEPT do
    q[KEPT[i]] = KEYS[#NAMES + #members + i]
  end
  keep_ends(q, now, now_up, ends)
end
to_front(q.ready, released)
if #returned > 0 and call('EXISTS', q.limits) == 1 then
  many('SADD', q.brought, returned)
end
wake(q, now)
return table.concat(verdicts)
