-- What may be claimed. READY has, by task, the offered jobs without a value and, of each open value, the first.
--
-- That is all the parking and waking there is: a job that is blocked, backing off or over its value's limit is not in
-- there; one whose task or queue is shut is never looked at.

local values, changed_values
-- How many jobs of each task have become claimable; by '', how many slots and timers changed what may be.
local offered

at_begin(function() values, changed_values, offered = {}, {}, {} end)

local function stir()
  offered[''] = (offered[''] or 0) + 1
end

-- The gate of a value of a task, about to be changed.
local function value_of(task, value)
  local name = task .. '\0' .. value
  local gate = values[name]
  if not gate then
    gate = {name = name, task = task, running = 0, shown = false}
    local packed = call('HGET', VALUES, name)
    if packed then gate.running, gate.shown = unpack_all(packed) end
    values[name] = gate
  end
  changed_values[gate] = true
  return gate
end

-- Stand in READY at the score of the first offer, if open, or not at all. Returns its place there.
local function show_value(gate)
  local first, limit = first_of(OFFERS, gate.name, 1)[1], gate_of(gate.task).value_limit
  local shown = first and (not limit or gate.running < limit) and string.sub(first, #gate.name + 2)
  if shown ~= gate.shown then
    if gate.shown then remove(READY, gate.task .. '\0' .. gate.shown) end
    if shown then place(READY, gate.task .. '\0' .. shown, 0) end
    gate.shown = shown or false
  end
  fill(VALUES, gate.name, (first or gate.running > 0) and pack(gate.running, gate.shown))
  changed_values[gate] = nil
  return gate.shown
end

local function show_values()
  for gate in pairs(changed_values) do show_value(gate) end
end

local function offer(job)
  if job.value then
    place(OFFERS, job.task .. '\0' .. job.value .. '\0' .. score_of(job) .. job.id, 0)
    value_of(job.task, job.value)
  else
    place(READY, job.task .. '\0' .. score_of(job) .. job.id, 0)
  end
  offered[job.task] = (offered[job.task] or 0) + 1
end

-- Take the job out, if it is offered. It holds no slot.
local function withdraw(job)
  if job.value then
    remove(OFFERS, job.task .. '\0' .. job.value .. '\0' .. score_of(job) .. job.id)
    value_of(job.task, job.value)
  else
    remove(READY, job.task .. '\0' .. score_of(job) .. job.id)
  end
end

-- Take back the slots that a lease held.
local function free(job)
  local own, gate = gate_of(''), gate_of(job.task)
  own.running, own.changed = own.running - 1, true
  gate.running, gate.changed = gate.running - 1, true
  if job.value then
    local value = value_of(job.task, job.value)
    value.running = value.running - 1
  end
  if own.limit or gate.limit or gate.value_limit then stir() end
end
