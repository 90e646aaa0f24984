-- What is counted about a job: `<retries>,<losses>,<direct-only>`; absent is 0,0,0.

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
