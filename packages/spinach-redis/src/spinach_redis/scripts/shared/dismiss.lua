-- What a member takes along when it leaves or is recovered: its number, its limits, its office.
-- When it declares anew, it keeps its number and its office.

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
