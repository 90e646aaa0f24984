-- Reads failed jobs, the newest first.
--
-- KEYS
--   jobs      hash  stored id -> record
--   attempts  hash  stored id -> `<retries>,<losses>,<direct-only>`
--   failed    zset  stored id -> instant
--   errors    hash  stored id -> reason
-- ARGV
--   1 clock offset, ms   2 age after which a failed job is forgotten, ms
--   3 how many to pass over   4 most jobs   5 most bytes; one larger job comes alone
--   6 to 8 instant, order and stored id of the place to begin behind, if any
-- Reply
--   stored id, record, attempts or nil, reason, instant, order in its ms for each
local NAMES = {'jobs', 'attempts', 'failed', 'errors'}
local q = named(NAMES, 0)
local now = now_ms(ARGV[1])
local most_bytes = tonumber(ARGV[5])
-- As in shared/failed.lua.
local SAME_INSTANT = 2048

-- Whether an id stands before another one of the same score, by bytes as the server has it;
-- Lua would compare as the locale does.
local function before(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then
      return a < b
    end
  end
  return #one < #other
end

local newest, skip = '+inf', tonumber(ARGV[3])
if ARGV[6] then
  newest = string.format('%.17g', tonumber(ARGV[6]) + tonumber(ARGV[7]) / SAME_INSTANT)
  local same = call('ZREVRANGEBYSCORE', q.failed, newest, newest)
  for i = 1, #same do
    if before(same[i], ARGV[8]) then
      break
    end
    skip = skip + 1
  end
end
local page = call('ZREVRANGEBYSCORE', q.failed, newest, now - tonumber(ARGV[2]), 'WITHSCORES',
  'LIMIT', skip, tonumber(ARGV[4]))
local answer, bytes = {}, 0
for i = 1, #page, 2 do
  local id = page[i]
  local record, reason = call('HGET', q.jobs, id) or '', call('HGET', q.errors, id) or ''
  bytes = bytes + #record + #reason
  if i > 1 and bytes > most_bytes then
    break
  end
  answer[#answer + 1] = id
  answer[#answer + 1] = record
  answer[#answer + 1] = call('HGET', q.attempts, id)
  answer[#answer + 1] = reason
  local score = tonumber(page[i + 1])
  answer[#answer + 1] = string.format('%.0f', math.floor(score))
  answer[#answer + 1] = math.floor((score - math.floor(score)) * SAME_INSTANT)
end
return answer
