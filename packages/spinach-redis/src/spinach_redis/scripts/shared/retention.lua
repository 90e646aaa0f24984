-- What the failed store keeps, {number, age in ms, bytes}: what the member said that joined last,
-- or else `default`. Bytes never cost the newest job.
local function bounds_in_force(q, default)
  local text = call('HGET', q.guard, 'retention')
  if not text then
    return default
  end
  local number, age, bytes = string.match(text, '^(%d+) (%d+) (%d+)$')
  return {tonumber(number), tonumber(age), tonumber(bytes)}
end
