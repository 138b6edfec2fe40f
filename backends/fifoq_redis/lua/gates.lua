-- The gates of the queue ('') and of its tasks: how many may pass, how many do. A slot is held by a lease only.

local Gates = {}

local gates, changed_gates = {}, {}

-- Put in force what is overridden, or else declared: {limit, value limit, capacity, interval, burst}, false for none.
function Gates.put_in_force(gate)
  local settings = gate.override or gate.declared or {}
  gate.limit, gate.value_limit, gate.capacity = settings[1] or nil, settings[2] or nil, settings[3] or nil
  gate.interval, gate.burst = settings[4] or nil, settings[5] or 1
end

function Gates.read(task, packed)
  local gate = {task = task, live = 0, running = 0, tat = 0, paused = false, declared = false, override = false}
  if packed then
    gate.live, gate.running, gate.tat, gate.paused, gate.declared, gate.override = unpack_all(packed)
  end
  Gates.put_in_force(gate)
  gates[task] = gate
  return gate
end

function Gates.of(task)
  return gates[task] or Gates.read(task, call('HGET', GATES, task))
end

-- Read the gates of these tasks, and the queue's own.
function Gates.read_all(tasks)
  local names = {'', unpack(tasks)}
  for index, packed in ipairs(Change.read_fields(GATES, names)) do
    if not gates[names[index]] then Gates.read(names[index], packed) end
  end
end

function Gates.change(gate)
  changed_gates[gate] = true
  return gate
end

function Gates.write()
  local records = Change.hash(GATES)
  for gate in pairs(changed_gates) do
    local packed = pack(gate.live, gate.running, gate.tat, gate.paused, gate.declared, gate.override)
    Change.put_field(records, gate.task, packed)
  end
  changed_gates = {}
  Change.write_hash(records)
end

-- How many of `n` more it lets through now.
function Gates.room(gate, n)
  if gate.paused then return 0 end
  if gate.limit then n = math.min(n, gate.limit - gate.running) end
  if gate.interval then
    n = math.min(n, gate.burst - math.ceil(math.max(gate.tat - now, 0) / gate.interval))
  end
  return math.max(n, 0)
end

-- Let `n` through: a slot and a token each.
function Gates.take(gate, n)
  if n == 0 then return end
  gate.running = gate.running + n
  if gate.interval then gate.tat = math.max(gate.tat, now) + n * gate.interval end
  Gates.change(gate)
end

-- When its next token comes; nil unless that is all that shuts it.
function Gates.opens_at(gate)
  if not gate.interval or gate.paused or (gate.limit and gate.running >= gate.limit) then return nil end
  local at = gate.tat - (gate.burst - 1) * gate.interval
  return at > now and at or nil
end

function Gates.count_live(task, change)
  local own, gate = Gates.of(''), Gates.of(task)
  own.live, gate.live = own.live + change, gate.live + change
  Gates.change(own)
  Gates.change(gate)
end
