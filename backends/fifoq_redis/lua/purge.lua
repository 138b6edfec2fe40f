-- purge: remove ended jobs whose time is over, and replies that nobody will ask for any more.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 how many jobs at most
-- gives how many jobs

local there = Book.begin(ARGV[1], false)
Replies.forget_replies(MAX_TIMERS)
if not there then return 0 end
local over, ids = call('ZRANGEBYSCORE', ENDS, '-inf', now, 'LIMIT', 0, ARGV[2]), {}
for index, member in ipairs(over) do ids[index] = string.sub(member, 7) end
Jobs.read(ids)
for index, id in ipairs(ids) do
  Change.remove(ends, over[index])
  Moves.forget(Jobs.get(id))
end
Ending.finish()
return #over
