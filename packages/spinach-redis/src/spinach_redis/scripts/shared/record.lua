-- What may be read of a job: its header, by pattern match, and its counts.

-- Retries, task and flags of a record; nothing when this release cannot read it. The same records
-- must be readable as in spinach.record.header: the process that gets another one parks it under
-- a name that is not its task's, so that a slot would be lost (I10).
local function header_of(record)
  local retries, flags, queue, task = string.match(record,
    '^1|(%d+)|([%-a-z]+)|([%w_.:/@%-]+)|([%w_.:/@%-]+)\n')
  if retries and #retries <= 7 and #queue <= 200 and #task <= 200 and
    (flags == '-' or string.match(flags, '^h?r?x?$')) then
    return tonumber(retries), task, flags
  end
end

-- Task of a record; false when it cannot be read, or there is none.
local function task_of(record)
  local _, task = header_of(record or '')
  return task or false
end

-- Retries a record allows; nil when it cannot be read.
local function max_retries_of(record)
  return (header_of(record))
end

-- `<retries>,<losses>,<direct-only>`; absent is 0,0,0. Behind that, and a space, may stand why the
-- last attempt failed.
local function attempts_of(text)
  if not text then
    return 0, 0, false, ''
  end
  local retries, losses, direct_only, reason = string.match(text, '^(%d+),(%d+),(%d) ?(.*)$')
  return tonumber(retries), tonumber(losses), direct_only == '1', reason
end

local function attempts_text(retries, losses, direct_only, reason)
  local counts = string.format('%d,%d,%d', retries, losses, direct_only and 1 or 0)
  return (reason or '') ~= '' and counts .. ' ' .. reason or counts
end
