-- Looking at a queue and steering it are refused where another release keeps it in another way.

-- The schema found, if it is not ours.
local function foreign(q, schema)
  local version = call('GET', q.version)
  return version and version ~= schema and version
end
