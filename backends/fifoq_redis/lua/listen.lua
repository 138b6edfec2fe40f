-- listen: be told of the next job that may be claimed, or given it, unless something has changed already.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 the channel of who listens · 3 the version that it has seen · 4 the tasks that it knows,
--       each between zero bytes, or '' for all · 5 for how many jobs its next claim may be made ahead · and of that
--       claim 6 the caller · 7 the number · 8 the worker · 9 the lease
-- gives the version of the queue: the caller listens if it is the one that it has seen; -1: that claim has been made

verb('listen', 'allow-oom', nil, function()
  tell_time(ARGV[1])
  local most = ARGV[5]
  if most > 0 and recall_claim(ARGV[6], ARGV[7]) then return -1 end
  if book.version == ARGV[3] then wait_at(ARGV[2], ARGV[4], most, unpack(ARGV, 6, 9)) end
  return book.version
end)
