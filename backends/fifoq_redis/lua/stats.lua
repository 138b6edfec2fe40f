-- stats: the counts, in O(tasks, priorities in use, callers).
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or ''
-- gives msgpack: scheduled, running, succeeded, failed, cancelled, purged, accepted, age of the oldest waiting or nil,
--       and by gate {task, live, running, paused, declared, override}

local first_seq, first_id

local function look_at(seq, id)
  if id and (not first_seq or seq < first_seq) then first_seq, first_id = seq, id end
end

-- READY has the jobs of a task by priority, and then by seq: the first of each is looked at.
local function look_at_ready(task)
  local start, last = task .. '\0', '(' .. task .. '\1'
  while true do
    local member = call('ZRANGEBYLEX', READY, '[' .. start, last, 'LIMIT', 0, 1)[1]
    if not member then return end
    local score = score_in(member, #task + 2)
    local seq = score % PRIORITY
    look_at(seq, string.sub(member, #task + 9))
    start = task .. '\0' .. struct.pack('>I7', score - seq + PRIORITY)
  end
end

-- Since when the waiting job with the smallest seq is there; nil for none.
local function oldest_created()
  first_seq, first_id = nil, nil
  local hidden = call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')
  look_at(tonumber(hidden[2]), hidden[1])
  for task, gate in pairs(gates) do
    if gate.live > 0 and task ~= '' then look_at_ready(task) end
  end
  return first_id and get_job(first_id).created
end

verb('stats', 'no-writes', nil, function()
  tell_time(ARGV[1])
  local own, names, shown = gate_of(''), gate_names(), {}
  for index, packed in ipairs(#names > 0 and read_fields(BOOK, names) or names) do
    local gate = read_gate(names[index], packed)
    shown[index] = pack({gate.task, gate.live, gate.running, gate.paused, gate.declared, gate.override})
  end
  local created = oldest_created()
  return array(2) .. array(8) .. pack(
    book.scheduled, own.running, book.succeeded, book.failed, book.cancelled, book.purged, book.accepted,
    created and now - created
  ) .. array(#shown) .. table.concat(shown)
end)
