-- A limit where there was none has to count the jobs that are leased without one. Only this looks
-- at all leases of a queue, once for a limit that is new.

-- Read at once, so that large ones do not fill the memory of the server.
local RECORDS = 100

-- Occupies a slot for each leased job of the `fresh` tasks; `running` has the keys of all members.
local function occupy_leased(q, running, fresh)
  local slots = {}
  for _, key in pairs(running) do
    local leases, ids = call('HGETALL', key), {}
    for i = 1, #leases, 2 do
      ids[#ids + 1] = leases[i]
    end
    for i = 1, #ids, RECORDS do
      local last = math.min(i + RECORDS - 1, #ids)
      local records = call('HMGET', q.jobs, unpack(ids, i, last))
      for j = 1, #records do
        local task = task_of(records[j])
        if task and fresh[task] then
          slots[#slots + 1], slots[#slots + 2] = 0, task .. '|' .. ids[i + j - 1]
        end
      end
    end
  end
  many('ZADD', q.slots, slots)
end
