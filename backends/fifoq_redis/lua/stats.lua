-- stats: the counts, in O(tasks).
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or ''
-- gives msgpack: scheduled, running, succeeded, failed, cancelled, purged, accepted, age of the oldest waiting or nil,
--       and by gate {task, live, running, paused, declared, override}

Book.tell_time(ARGV[1])
local own, oldest, shown = Gates.of(''), call('ZRANGE', WAITING, 0, 0)[1], {}
local age = oldest and now - Jobs.get(oldest).created
local packed = call('HGETALL', GATES)
for index = 1, #packed, 2 do
  local gate = Gates.read(packed[index], packed[index + 1])
  shown[#shown + 1] = pack({gate.task, gate.live, gate.running, gate.paused, gate.declared, gate.override})
end
return Change.array(2) .. Change.array(8) .. pack(
  book.scheduled, own.running, book.succeeded, book.failed, book.cancelled, book.purged, book.accepted, age
) .. Change.array(#shown) .. table.concat(shown)
