-- What enqueue.lua is asked most: to store one job that is ready, under the number that comes
-- next. It stands before the other shared files and makes neither tables nor functions, which
-- takes a quarter off the time of the script. Whatever else it is asked goes on to the rest.
-- As there, the first write is one that a full server refuses (I2).

if #ARGV == 7 and ARGV[7] == '' then
  local call = redis.call
  local jobs, ready, marker, paused, enqueued = KEYS[2], KEYS[3], KEYS[6], KEYS[7], KEYS[8]
  local session, number, id = KEYS[9], ARGV[3], ARGV[5]
  local last = call('GET', session)
  if last and last + 1 == tonumber(number) then
    if call('HSETNX', jobs, id, ARGV[6]) == 1 then
      call('RPUSH', ready, id)
      call('INCRBY', enqueued, 1)
      if call('EXISTS', paused, marker) == 0 then
        call('ZADD', marker, 0, '1')
      end
    end
    call('SET', session, number, 'PX', ARGV[4])
    return {'OK', '1'}
  end
end
