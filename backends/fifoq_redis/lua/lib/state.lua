-- The counters of the queue, and its time. Read at the start of every call, written at the end of one that changes.

local SCHEMA = 1

local COUNTERS = '\0'
local book, now

-- As one packed field: less work, in every call, than a field of each.
local function read_book(packed)
  local schema, last, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
        watched, first
  if packed then
    schema, last, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
      watched, first = unpack_all(packed)
  end
  now = nil
  book = {
    schema = schema or 0, last = last or 0, offset = offset or 0, number = number or 0, fence = fence or 0,
    version = version or 0, accepted = accepted or 0, purged = purged or 0, scheduled = scheduled or 0,
    succeeded = succeeded or 0, failed = failed or 0, cancelled = cancelled or 0, watched = watched or 0,
    first = first or false,
  }
end

local function write_book()
  fill(BOOK, COUNTERS, pack(
    book.schema, book.last, book.offset, book.number, book.fence, book.version, book.accepted, book.purged,
    book.scheduled, book.succeeded, book.failed, book.cancelled, book.watched, book.first
  ))
end

-- The time of this call, read once. Set back, it runs on from the last one used.
local function tell_time(given)
  local wall = tonumber(given)
  if not wall then
    local time = call('TIME')
    wall = time[1] * 1000000 + time[2]
  end
  now = wall + book.offset
  if now < book.last then
    book.offset, now = book.offset + book.last - now, book.last
  end
end

-- The names of all gates: what else is in the book begins with a zero byte.
local function gate_names()
  local names = {}
  for _, name in ipairs(call('HKEYS', BOOK)) do
    if string.byte(name) ~= 0 then names[#names + 1] = name end
  end
  return names
end

-- Whether there is something of a queue whose book is lost, or not of fifoq. Who waits, or asked before, may have come
-- first.
local function is_foreign()
  return #gate_names() > 0 or call('EXISTS', unpack(KEYS, 2, 16)) > 0
end

-- Begin a call that changes the queue, or return false if there is no queue yet.
local function begin(given, make)
  tell_time(given)
  if book.schema == 0 then
    if not make then return false end
    if is_foreign() then error({err = 'FOREIGN'}) end
    book.schema = SCHEMA
  end
  book.last = now
  return true
end

local function next_number()
  book.number = book.number + 1
  return book.number
end

local function count(state, by)
  if state == SUCCEEDED then
    book.succeeded = book.succeeded + by
  elseif state == SCHEDULED then
    book.scheduled = book.scheduled + by
  elseif state == FAILED then
    book.failed = book.failed + by
  else
    book.cancelled = book.cancelled + by
  end
end

-- What each caller was told last, per verb, so that a repeated call changes nothing.
--
-- A claim that was made ahead is kept beside the one before it, as 'ahead': nobody knows whether that one was heard of.

-- Every call would move its caller in CALLERS. So much later is soon enough: a reply is kept that much longer.
local LATE = 300000000
local kept, noted

at_begin(function() kept, noted = {}, {} end)

-- Where in the book the last reply of a verb to a caller is. No task's name begins like this.
local function reply_name(verb, caller)
  return '\0' .. verb .. ' ' .. caller
end

-- The reply to a repeated call, or nil to a new one. One that was overtaken is refused.
local function recall(verb, caller, number)
  local name = reply_name(verb, caller)
  if kept[name] == nil then kept[name] = call('HGET', BOOK, name) end
  if not kept[name] then return nil end
  local last, at, start = struct.unpack('>I8I8', kept[name])
  noted[name] = at
  if number == last then return string.sub(kept[name], start) end
  if number < last then return redis.error_reply('OVERTAKEN ' .. last) end
  return nil
end

-- The reply to a claim that was made before, by its caller or ahead.
local function recall_claim(caller, number)
  return recall('claim', caller, number) or recall('ahead', caller, number)
end

local function keep_reply(verb, caller, number, reply)
  local name = reply_name(verb, caller)
  if not noted[name] or now - noted[name] > LATE then
    noted[name] = now
    call('ZADD', CALLERS, now, name)
  end
  fill(BOOK, name, struct.pack('>I8I8', number, noted[name]) .. reply)
  return reply
end

-- Keep the reply to a claim made ahead. If the one before it was, too, its caller may not have heard of either.
local function keep_ahead(caller, number, reply)
  local before = recall('ahead', caller, number - 1)
  if before then keep_reply('claim', caller, number - 1, before) end
  return keep_reply('ahead', caller, number, reply)
end

-- The gates of the queue ('') and of its tasks: how many may pass, how many do. A slot is held by a lease only.

local gates

at_begin(function() gates = {} end)

-- Put in force what is overridden, or else declared: {limit, value limit, capacity, interval, burst}, false for none.
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
  return gates[task] or read_gate(task, call('HGET', BOOK, task))
end

-- Read the counters, the gates of the queue and of these tasks, and the last replies to `recalls`: verbs, and which of
-- ARGV has the caller.
local function open_book(tasks, recalls)
  local names, gates_end = {COUNTERS, ''}, 2 + #tasks
  for index = 1, #tasks do names[index + 2] = tasks[index] end
  for index = 1, #recalls, 2 do
    local caller = ARGV[recalls[index + 1]]
    if caller then names[#names + 1] = reply_name(recalls[index], caller) end
  end
  local found = read_fields(BOOK, names)
  read_book(found[1])
  for index = 2, gates_end do read_gate(names[index], found[index]) end
  for index = gates_end + 1, #names do kept[names[index]] = found[index] end
end

local function write_gates()
  for task, gate in pairs(gates) do
    if gate.changed then
      gate.changed = false
      fill(BOOK, task, pack(gate.live, gate.running, gate.tat, gate.paused, gate.declared, gate.override))
    end
  end
end

-- How many of `n` more it lets through now.
local function room(gate, n)
  if gate.paused then return 0 end
  if gate.limit then n = math.min(n, gate.limit - gate.running) end
  if gate.interval then
    n = math.min(n, gate.burst - math.ceil(math.max(gate.tat - now, 0) / gate.interval))
  end
  return math.max(n, 0)
end

-- Let `n` through: a slot and a token each.
local function pass(gate, n)
  gate.running, gate.changed = gate.running + n, true
  if gate.interval then gate.tat = math.max(gate.tat, now) + n * gate.interval end
end

-- When its next token comes; nil unless that is all that shuts it.
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

-- What can be called: each verb of a queue, as a function of the library.

local NONE_NEEDED = {}

-- `flag`: 'no-writes' if it only looks, 'allow-oom' if it is to work at maxmemory, too. `tasks_at`: which of ARGV has
-- the tasks whose gates it will need, if that is known; `run` is given them. `recalls`: as open_book is given them.
local function verb(name, flag, tasks_at, run, recalls)
  redis.register_function({
    function_name = LIBRARY .. '_' .. name,
    flags = {flag},
    callback = function(keys, args)
      begin_call(keys, args)
      local tasks = tasks_at and ARGV[tasks_at] or NONE_NEEDED
      open_book(tasks, recalls or NONE_NEEDED)
      if book.schema > SCHEMA then return redis.error_reply('NEWERSCHEMA ' .. book.schema) end
      local reply = run(tasks)
      write_fields(BOOK)
      return reply
    end,
  })
end
