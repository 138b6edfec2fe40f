-- purge: remove ended jobs whose time is over, and replies that nobody will ask for any more.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 how many jobs at most
-- gives how many jobs

-- What was told so long ago that nobody will ask for it again.
local function forget_replies(limit)
  local old = call('ZRANGEBYSCORE', CALLERS, '-inf', now - KEEP_REPLY - LATE, 'LIMIT', 0, limit)
  if #old > 0 then
    call('HDEL', BOOK, unpack(old))
    call('ZREM', CALLERS, unpack(old))
  end
end

verb('purge', 'allow-oom', nil, function()
  local there = begin(ARGV[1], false)
  forget_replies(MAX_TIMERS)
  if not there then return 0 end
  local ids = take_over(ARGV[2])
  read_jobs(ids)
  for _, id in ipairs(ids) do forget(get_job(id)) end
  end_change()
  return #ids
end)
