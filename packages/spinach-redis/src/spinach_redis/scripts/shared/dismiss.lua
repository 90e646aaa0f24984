-- What a member takes along when it leaves or is recovered: its number, its limits, its office.
-- When it declares anew, it keeps its number and its office.

-- The limits that a member declares, read off its `info`: task -> `<task>|<limit>`. Also the
-- tasks in their order.
local function declared_by(info)
  local declared, tasks = {}, {}
  local line = string.match(info, '^[^\n]*\n[^\n]*\n([^\n]*)') or ''
  for entry, task in string.gmatch(line, '(([^|%s]+)|%d+)') do
    declared[task] = entry
    tasks[#tasks + 1] = task
  end
  return declared, tasks
end

-- Forgets what a member declared by its `info`, but for the tasks that are `kept`.
local function withdraw(q, limits, member, info, kept)
  local declared, tasks = declared_by(info)
  for i = 1, #tasks do
    local task = tasks[i]
    if not kept[task] and call('ZREM', q.declared, declared[task] .. '|' .. member) == 1 then
      local limit = limits[task] or {task = task}
      limit.read, limit.n = true, in_force(q, task, limit.override)
      fill_slots(q, limit)
    end
  end
end

-- What it declared periodic, by its `info`, was declared until now.
local function end_schedule(q, info, now)
  for task in string.gmatch(string.match(info, '^%d+ ([^\n]*)') or '', '%S+') do
    local interval = string.match(call('HGET', q['periodic-info'], task) or '', '^%d+')
    if interval then
      call('HSET', q['periodic-info'], task, string.format('%s %.0f', interval, now))
    end
  end
end

-- Returns what `info` holds of it, or ''.
local function dismiss(q, limits, member, now)
  local info = call('HGET', q.info, member) or ''
  call('HDEL', q.seq, member)
  withdraw(q, limits, member, info, {})
  resign(q, member)
  end_schedule(q, info, now)
  return info
end
