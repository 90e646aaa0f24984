-- New jobs of a queue. The first write is one that a full server refuses (I2). Jobs that
-- come behind ready ones are announced as well: the process that took the marker for those
-- may have died before its fetch.

-- Stores the jobs that are not stored yet. `jobs` holds id, record and due of each from
-- position `from` on; the flag of a job is '1' if it is ready, else it waits until its due,
-- in ms since 1970.
local function deposit(q, jobs, from, flags)
  local ids = {}
  for i = from, #jobs, 3 do
    ids[#ids + 1] = jobs[i]
  end
  local present = fields_of(q.jobs, ids)
  local records, ready, waiting, seen = {}, {}, {}, {}
  for i = 1, #ids do
    local id, at = ids[i], from + 3 * (i - 1)
    if not present[i] and not seen[id] then
      seen[id] = true
      records[#records + 1] = id
      records[#records + 1] = jobs[at + 1]
      if flags[i] == '1' then
        ready[#ready + 1] = id
      else
        waiting[#waiting + 1] = tonumber(jobs[at + 2])
        waiting[#waiting + 1] = id
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
