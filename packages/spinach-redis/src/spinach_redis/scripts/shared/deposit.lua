-- New jobs of a queue.

-- Stores the jobs that are not stored yet; `jobs` is {id, record, due or nil, ...} in
-- steps of three. The first write is one that a full server refuses (I2).
local function deposit(q, now, jobs)
  local ids = {}
  for i = 1, #jobs, 3 do
    ids[#ids + 1] = jobs[i]
  end
  local present = fields_of(q.jobs, ids)
  local records, ready, waiting, seen = {}, {}, {}, {}
  for i = 1, #ids do
    local id, due = ids[i], tonumber(jobs[3 * i])
    if not present[i] and not seen[id] then
      seen[id] = true
      records[#records + 1] = id
      records[#records + 1] = jobs[3 * i - 1]
      if due and due > now then
        waiting[#waiting + 1] = due
        waiting[#waiting + 1] = id
      else
        ready[#ready + 1] = id
      end
    end
  end
  if #records == 0 then
    return
  end
  many('HSET', q.jobs, records)
  many('RPUSH', q.ready, ready)
  call('INCRBY', q.enqueued, #records / 2)
  postpone(q, waiting)
  if #ready > 0 then
    announce(q)
  end
end
