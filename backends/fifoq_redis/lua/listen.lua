-- listen: be told of the next job that may be claimed, unless something has changed already.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 the channel of who listens · 3 the version that it has seen · 4 the tasks that it knows,
--       each between zero bytes, or '' for all
-- gives the version of the queue: the caller listens if it is the one that it has seen

verb('listen', 'allow-oom', nil, function()
  tell_time(ARGV[1])
  if book.version == tonumber(ARGV[3]) then
    call('ZADD', IDLE, now, ARGV[2])
    call('HSET', KNOWS, ARGV[2], ARGV[4])
  end
  return book.version
end)
