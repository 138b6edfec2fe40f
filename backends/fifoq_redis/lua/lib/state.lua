-- The state of the queue: counters and time, replies to callers, gates; and the registration of verbs.

-- ---- counters and time ----

-- Read at the start of every call, written at the end of a call that changes the queue.

local SCHEMA = 1

local COUNTERS = '\0'
local queue, now

-- Read the counters from one packed field: less work in every call than a field for each.
local function read_queue(packed)
  local schema, last, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
        awaited, first
  if packed then
    schema, last, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
      awaited, first = unpack_all(packed)
  end
  now = nil
  queue = {
    schema = schema or 0, last = last or 0, offset = offset or 0, number = number or 0, fence = fence or 0,
    version = version or 0, accepted = accepted or 0, purged = purged or 0, scheduled = scheduled or 0,
    succeeded = succeeded or 0, failed = failed or 0, cancelled = cancelled or 0, awaited = awaited or 0,
    first = first or false,
  }
end

local function write_queue()
  set_field(STATE, COUNTERS, pack(
    queue.schema, queue.last, queue.offset, queue.number, queue.fence, queue.version, queue.accepted, queue.purged,
    queue.scheduled, queue.succeeded, queue.failed, queue.cancelled, queue.awaited, queue.first
  ))
end

-- Set the time of this call. If the clock was set back, time runs on from the last stored one.
local function read_time(given)
  local wall = tonumber(given)
  if not wall then
    local time = call('TIME')
    wall = time[1] * 1000000 + time[2]
  end
  now = wall + queue.offset
  if now < queue.last then
    queue.offset, now = queue.offset + queue.last - now, queue.last
  end
end

-- Return the names of all gates: the other fields of STATE begin with a zero byte.
local function gate_names()
  local names = {}
  for _, name in ipairs(call('HKEYS', STATE)) do
    if string.byte(name) ~= 0 then names[#names + 1] = name end
  end
  return names
end

-- Return whether the keys hold data without counters: the state was lost, or the data is not of fifoq. Waiters and
-- replies may be stored before the counters are.
local function is_foreign()
  return #gate_names() > 0 or call('EXISTS', unpack(KEYS, 2, 16)) > 0
end

-- Begin a call that changes the queue; `make` makes the queue. Return false if there is none.
local function begin(given, make)
  read_time(given)
  if queue.schema == 0 then
    if not make then return false end
    if is_foreign() then error({err = 'FOREIGN'}) end
    queue.schema = SCHEMA
  end
  queue.last = now
  return true
end

local function next_number()
  queue.number = queue.number + 1
  return queue.number
end

local function count(state, by)
  if state == SUCCEEDED then
    queue.succeeded = queue.succeeded + by
  elseif state == SCHEDULED then
    queue.scheduled = queue.scheduled + by
  elseif state == FAILED then
    queue.failed = queue.failed + by
  else
    queue.cancelled = queue.cancelled + by
  end
end

-- ---- replies ----

-- The last reply to each caller of each verb is stored, so that a repeated call changes nothing. The reply to a claim
-- made ahead is stored as 'ahead', beside the one before: its caller may not have received that one.

-- The score of a caller in CALLERS is renewed after this time only, not with every call; replies live that much longer.
local LATE = 300000000
local kept, noted

at_begin(function() kept, noted = {}, {} end)

-- Return the field of STATE with the last reply of a verb to a caller. No task's name begins with a zero byte.
local function reply_name(verb, caller)
  return '\0' .. verb .. ' ' .. caller
end

-- Return the reply to a repeated call, nil to a new one, an error to a call that was overtaken.
local function recall(verb, caller, number)
  local name = reply_name(verb, caller)
  if kept[name] == nil then kept[name] = call('HGET', STATE, name) end
  if not kept[name] then return nil end
  local last, at, start = struct.unpack('>I8I8', kept[name])
  noted[name] = at
  if number == last then return string.sub(kept[name], start) end
  if number < last then return redis.error_reply('OVERTAKEN ' .. last) end
  return nil
end

-- Return the reply to a claim that was made before, by its caller or ahead; nil for none.
local function recall_claim(caller, number)
  return recall('claim', caller, number) or recall('ahead', caller, number)
end

local function keep_reply(verb, caller, number, reply)
  local name = reply_name(verb, caller)
  if not noted[name] or now - noted[name] > LATE then
    noted[name] = now
    call('ZADD', CALLERS, now, name)
  end
  set_field(STATE, name, struct.pack('>I8I8', number, noted[name]) .. reply)
  return reply
end

-- Store the reply to a claim made ahead. If the claim before it was made ahead, too, its caller may have received
-- neither: that reply moves to 'claim'.
local function keep_ahead(caller, number, reply)
  local before = recall('ahead', caller, number - 1)
  if before then keep_reply('claim', caller, number - 1, before) end
  return keep_reply('ahead', caller, number, reply)
end

-- ---- gates ----

-- The gates of the queue ('') and of its tasks: limits, rates, and running jobs. A slot is held by a lease only.

local gates

at_begin(function() gates = {} end)

-- Put the override in force, or else the declared settings: {limit, value limit, capacity, interval, burst}, false for
-- none.
local function put_in_force(gate)
  local settings = gate.override or gate.declared or NO_SETTINGS
  gate.limit, gate.value_limit, gate.capacity = settings[1] or nil, settings[2] or nil, settings[3] or nil
  gate.interval, gate.burst = settings[4] or nil, settings[5] or 1
end

local function read_gate(task, packed)
  local live, running, tat, paused, declared, override
  if packed then live, running, tat, paused, declared, override = unpack_all(packed) end
  local gate = {
    task = task, live = live or 0, running = running or 0, tat = tat or 0, paused = paused or false,
    declared = declared or false, override = override or false, changed = false,
    limit = nil, value_limit = nil, capacity = nil, interval = nil, burst = 1,
  }
  if declared or override then put_in_force(gate) end
  gates[task] = gate
  return gate
end

local function gate_of(task)
  return gates[task] or read_gate(task, call('HGET', STATE, task))
end

-- Read the counters, the gates of the queue and of these tasks, and the last replies for `recalls`: verbs, each with the
-- index in ARGV of its caller.
local function open_queue(tasks, recalls)
  local names, gates_end = {COUNTERS, ''}, 2 + #tasks
  for index = 1, #tasks do names[index + 2] = tasks[index] end
  for index = 1, #recalls, 2 do
    local caller = ARGV[recalls[index + 1]]
    if caller then names[#names + 1] = reply_name(recalls[index], caller) end
  end
  local found = read_fields(STATE, names)
  read_queue(found[1])
  for index = 2, gates_end do read_gate(names[index], found[index]) end
  for index = gates_end + 1, #names do kept[names[index]] = found[index] end
end

local function write_gates()
  for task, gate in pairs(gates) do
    if gate.changed then
      gate.changed = false
      set_field(STATE, task, pack(gate.live, gate.running, gate.tat, gate.paused, gate.declared, gate.override))
    end
  end
end

-- Return how many of `n` more jobs the gate lets through now.
local function room(gate, n)
  if gate.paused then return 0 end
  if gate.limit then n = math.min(n, gate.limit - gate.running) end
  if gate.interval then
    n = math.min(n, gate.burst - math.ceil(math.max(gate.tat - now, 0) / gate.interval))
  end
  return math.max(n, 0)
end

-- Take a slot and a token for each of `n` jobs.
local function take_slots(gate, n)
  gate.running, gate.changed = gate.running + n, true
  if gate.interval then gate.tat = math.max(gate.tat, now) + n * gate.interval end
end

-- Return when the gate's next token comes; nil unless it is closed for want of a token alone.
local function opens_at(gate)
  if not gate.interval or gate.paused or (gate.limit and gate.running >= gate.limit) then return nil end
  local at = gate.tat - (gate.burst - 1) * gate.interval
  return at > now and at or nil
end

local function count_live(task, by)
  local own, gate = gate_of(''), gate_of(task)
  own.live, own.changed = own.live + by, true
  gate.live, gate.changed = gate.live + by, true
end

-- ---- verbs ----

local NONE_NEEDED = {}

-- Register a verb as a function of the library. `flag`: 'no-writes' if it only reads, 'allow-oom' if it works at
-- maxmemory, too. `tasks_at`: the index in ARGV of the tasks whose gates it needs; `run` gets them. `recalls`: see
-- open_queue.
local function verb(name, flag, tasks_at, run, recalls)
  redis.register_function({
    function_name = LIBRARY .. '_' .. name,
    flags = {flag},
    callback = function(keys, args)
      begin_call(keys, args)
      local tasks = tasks_at and ARGV[tasks_at] or NONE_NEEDED
      open_queue(tasks, recalls or NONE_NEEDED)
      if queue.schema > SCHEMA then return redis.error_reply('NEWERSCHEMA ' .. queue.schema) end
      local reply = run(tasks)
      write_fields(STATE)
      return reply
    end,
  })
end
