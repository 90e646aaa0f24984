-- The schema of a queue, `version`. What is stored of a new job, of one that waits or of one
-- that failed lies alike in schemas 1 and 2, and while a queue is converted from one to the
-- other: so producers do not depend on which of them workers have.

local LIKE_OURS = {['1'] = true, ['1>2'] = true}

-- The schema found, where nothing may be stored under ours; else nil. An absent one becomes ours.
local function other_schema(q, schema)
  local version = call('GET', q.version)
  if version and version ~= schema and not LIKE_OURS[version] then
    return version
  end
  if not version then
    call('SET', q.version, schema)
  end
  return nil
end
