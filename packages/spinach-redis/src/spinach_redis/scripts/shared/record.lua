-- What may be read of a job: its header, by pattern match, and its counts.

-- Task of a record; false when it is of a version unknown here.
local function task_of(record)
  return record and string.match(record, '^1|%d+|[^|\n]*|[^|\n]*|([^\n]*)\n') or false
end

-- Retries a record allows; nil when it is of a version unknown here.
local function max_retries_of(record)
  return tonumber(string.match(record, '^1|(%d+)|'))
end

-- `<retries>,<losses>,<direct-only>`; absent is 0,0,0.
local function attempts_of(text)
  if not text then
    return 0, 0, false
  end
  local retries, losses, direct_only = string.match(text, '^(%d+),(%d+),(%d)$')
  return tonumber(retries), tonumber(losses), direct_only == '1'
end

local function attempts_text(retries, losses, direct_only)
  return string.format('%d,%d,%d', retries, losses, direct_only and 1 or 0)
end
