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
