-- What a member takes along when it leaves or is recovered: its number, its limits, its office.
-- When it declares anew, it keeps its number and its office.

-- What it declared periodic was declared until now. Returns what `info` holds of it, or ''.
local function end_schedule(q, member, now)
  local info = call('HGET', q.info, member) or ''
  for task in string.gmatch(string.match(info, '^%d+ ([^\n]*)') or '', '%S+') do
    local interval = string.match(call('HGET', q['periodic-info'], task) or '', '^%d+')
    if interval then
      call('HSET', q['periodic-info'], task, string.format('%s %.0f', interval, now))
    end
  end
  return info
end

-- Returns what `end_schedule` does.
local function dismiss(q, limits, member, now)
  call('HDEL', q.seq, member)
  withdraw(q, limits, member)
  resign(q, member)
  return end_schedule(q, member, now)
end
