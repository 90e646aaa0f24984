-- Jobs that have further attempts.

-- Spends an attempt of each job; `retries` is {{id, due, losses to count, why it
-- failed or ''}, ...}.
local function retry(q, now, retries)
  if #retries == 0 then
    return
  end
  local ids = {}
  for i = 1, #retries do
    ids[i] = retries[i][1]
  end
  local counted = fields_of(q.attempts, ids)
  local attempts, ready, waiting, waiting_ids = {}, {}, {}, {}
  for i = 1, #ids do
    local spent, losses, direct_only = attempts_of(counted[i])
    attempts[2 * i - 1] = ids[i]
    attempts[2 * i] = attempts_text(spent + 1, losses + retries[i][3], direct_only, retries[i][4])
    if retries[i][2] > now then
      waiting[#waiting + 1] = retries[i][2]
      waiting[#waiting + 1] = ids[i]
      waiting_ids[#waiting_ids + 1] = ids[i]
    else
      ready[#ready + 1] = ids[i]
    end
  end
  many('HSET', q.attempts, attempts)
  many('RPUSH', q.ready, ready)
  many('SADD', q.retrying, waiting_ids)
  postpone(q, waiting)
end
