-- stats: the counts, in O(tasks).
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or ''
-- gives msgpack: scheduled, running, succeeded, failed, cancelled, purged, accepted, age of the oldest waiting or nil,
--       and by gate {task, live, running, paused, declared, override}

verb('stats', 'no-writes', nil, function()
  tell_time(ARGV[1])
  local own, oldest, shown = gate_of(''), call('ZRANGE', WAITING, 0, 0)[1], {}
  local age = oldest and now - get_job(oldest).created
  local packed = call('HGETALL', BOOK)
  for index = 1, #packed, 2 do
    if packed[index] ~= COUNTERS then
      local gate = read_gate(packed[index], packed[index + 1])
      shown[#shown + 1] = pack({gate.task, gate.live, gate.running, gate.paused, gate.declared, gate.override})
    end
  end
  return array(2) .. array(8) .. pack(
    book.scheduled, own.running, book.succeeded, book.failed, book.cancelled, book.purged, book.accepted, age
  ) .. array(#shown) .. table.concat(shown)
end)
