-- What is kept of leased jobs beside their leases: cancels that were asked for, `cancelling`, and
-- what their tasks tell of themselves, `progress`. Most queues have neither. So `guard` says how
-- many there are of each, which `step` reads anyway.

-- After a change: `name` is the key and the field.
local function note_number(q, name)
  local count = call('HLEN', q[name])
  if count > 0 then
    call('HSET', q.guard, name, count)
  else
    call('HDEL', q.guard, name)
  end
end

-- Of some leased jobs those whose cancel was asked for, id -> true.
local function asked_of(q, ids)
  local asked = {}
  if q.has_cancelling then
    local members = fields_of(q.cancelling, ids)
    for i = 1, #ids do
      asked[ids[i]] = members[i] and true or nil
    end
  end
  return asked
end

-- The leases of some jobs ended.
local function forget_leased(q, ids)
  if q.has_cancelling and #ids > 0 then
    many('HDEL', q.cancelling, ids)
    note_number(q, 'cancelling')
  end
  if q.has_progress and #ids > 0 then
    many('HDEL', q.progress, ids)
    note_number(q, 'progress')
  end
end
