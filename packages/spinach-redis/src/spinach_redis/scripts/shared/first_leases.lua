-- The first ones of many leases, without sorting them all.

-- The leases of some members that have the lowest ranks, `most` of them, in order; also how many
-- leases these members have in all. `running` has the key of each member. `rank_of` tells the rank
-- of a token, a number that no other has, or nil where the lease is not meant. Of each: stored id,
-- token, member, rank.
local function first_leases(running, most, rank_of)
  local ranks, found, highest, count = {}, {}, math.huge, 0
  local function keep_lowest()
    table.sort(ranks)
    for i = #ranks, most + 1, -1 do
      ranks[i] = nil
    end
    highest = ranks[most] or math.huge
  end
  for member, key in pairs(running) do
    local flat = call('HGETALL', key)
    count = count + #flat / 2
    for i = 1, #flat, 2 do
      local rank = rank_of(flat[i + 1])
      if rank and rank < highest then
        ranks[#ranks + 1] = rank
        found[rank] = {flat[i], flat[i + 1], member, rank}
        if #ranks >= 2 * most then
          keep_lowest()
        end
      end
    end
  end
  keep_lowest()
  local leases = {}
  for i = 1, #ranks do
    leases[i] = found[ranks[i]]
  end
  return leases, count
end
