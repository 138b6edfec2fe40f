-- What may be claimed. READY has, by task, the offered jobs without a value and, of each open value, the first.
--
-- That is all the parking and waking there is: a job that is blocked, backing off or over its value's limit is not in
-- there; one whose task or queue is shut is never looked at.

local Ready = {}

local ready, offers, value_records = Change.sorted(READY), Change.sorted(OFFERS), Change.hash(VALUES)
local values, touched_values = {}, {}
-- How many jobs of each task have become claimable; by '', how many slots and timers changed what may be.
local offered = {}

function Ready.stir()
  offered[''] = (offered[''] or 0) + 1
end

function Ready.value_of(task, value)
  local name = task .. '\0' .. value
  local gate = values[name]
  if not gate then
    gate = {name = name, task = task, running = 0, shown = false}
    local packed = call('HGET', VALUES, name)
    if packed then gate.running, gate.shown = unpack_all(packed) end
    values[name] = gate
  end
  touched_values[gate] = true
  return gate
end

-- Stand in READY at the score of the first offer, if open, or not at all. Returns its place there.
function Ready.show_value(gate)
  local first, limit = Change.first_of(offers, gate.name), Gates.of(gate.task).value_limit
  local shown = first and (not limit or gate.running < limit) and string.sub(first, #gate.name + 2)
  if shown ~= gate.shown then
    if gate.shown then Change.remove(ready, gate.task .. '\0' .. gate.shown) end
    if shown then Change.place(ready, gate.task .. '\0' .. shown, 0) end
    gate.shown = shown or false
  end
  Change.put_field(value_records, gate.name, (first or gate.running > 0) and pack(gate.running, gate.shown))
  touched_values[gate] = nil
  return gate.shown
end

function Ready.show_values()
  for gate in pairs(touched_values) do Ready.show_value(gate) end
end

function Ready.write()
  Ready.show_values()
  Change.write_sorted(offers)
  Change.write_sorted(ready)
  Change.write_hash(value_records)
end

function Ready.offer(job)
  if job.value then
    Change.place(offers, job.task .. '\0' .. job.value .. '\0' .. Jobs.score_of(job) .. job.id, 0)
    Ready.value_of(job.task, job.value)
  else
    Change.place(ready, job.task .. '\0' .. Jobs.score_of(job) .. job.id, 0)
  end
  offered[job.task] = (offered[job.task] or 0) + 1
end

-- Take the job out, if it is offered. It holds no slot.
function Ready.withdraw(job)
  if job.value then
    Change.remove(offers, job.task .. '\0' .. job.value .. '\0' .. Jobs.score_of(job) .. job.id)
    Ready.value_of(job.task, job.value)
  else
    Change.remove(ready, job.task .. '\0' .. Jobs.score_of(job) .. job.id)
  end
end

-- Take back the slots that a lease held.
function Ready.free(job)
  local own, gate = Gates.of(''), Gates.of(job.task)
  own.running, gate.running = own.running - 1, gate.running - 1
  Gates.change(own)
  Gates.change(gate)
  if job.value then
    local value = Ready.value_of(job.task, job.value)
    value.running = value.running - 1
  end
  if own.limit or gate.limit or gate.value_limit then Ready.stir() end
end
