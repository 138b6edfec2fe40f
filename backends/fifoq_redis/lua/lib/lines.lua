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

-- The line of each key: its live jobs by seq. Only the first may be offered.
--
-- Who stands first is asked once, after all that a call does to a key: `face` collects the keys, `face_all` asks.

local faces, any_paused, any_blocked

at_begin(function() faces, any_paused, any_blocked = {}, nil, nil end)

local function standing(job)
  return job.key .. '\0' .. struct.pack('>I6', job.seq) .. job.id
end

-- The id of who stands first in the line of a key; nil if nobody does.
local function head_of(key)
  local first = first_of(LINES, key, 1)[1]
  return first and string.sub(first, #key + 8)
end

-- `departed`: the first may be a job that this call has not seen yet.
local function face(key, departed)
  faces[key] = faces[key] or departed or false
end

local function paused_since(key)
  if any_paused == nil then any_paused = call('HLEN', PAUSED) > 0 end
  return any_paused and tonumber(field_of(PAUSED, key)) or nil
end

-- Why the first of a line may not be claimed, and since when; nil if it may, or only a lease or a gate is in the way.
local function why_blocked(key, head)
  if head and head.halted then return 'halted', head.finished end
  local since = paused_since(key)
  if since then return 'paused', since end
  if head and head.due then return 'backing off', head.held end
end

local function may_run(job)
  return job.state == WAITS and not job.due and not (job.key and paused_since(job.key))
end

local function mark(key, head)
  if any_blocked == nil then any_blocked = call('EXISTS', BLOCKED) > 0 end
  local _, since = why_blocked(key, head)
  if since then
    place(BLOCKED, key, since)
    any_blocked = true
  elseif any_blocked then
    remove(BLOCKED, key)
  end
end

local function heads_of_faces()
  local heads, unread = {}, {}
  for key, departed in pairs(faces) do
    local id = head_of(key)
    -- A job that stood first before, and that nothing was done to, is as it was.
    if not id or departed or jobs[id] then
      heads[key] = id or false
      if id then unread[#unread + 1] = id end
    end
  end
  read_jobs(unread)
  return heads
end

local function face_all()
  if not next(faces) then return end
  local heads = heads_of_faces()
  faces = {}
  for key, id in pairs(heads) do
    local head = id and get_job(id)
    if head and may_run(head) then offer(head) end
    mark(key, head)
  end
end

-- The moves that every verb is made of: into the line, back to it, out of it.

-- Tell who waits for the end of a job, with its last record: it may be gone by the time they look.
local function tell_watchers(job)
  local watchers = book.watched > 0 and call('HGET', WATCHED, job.id)
  if not watchers then return end
  call('HDEL', WATCHED, job.id)
  book.watched = book.watched - 1
  local message = 'e' .. BOOK .. '\0' .. job.id .. '\0' .. show_job(job)
  for channel in string.gmatch(watchers, '%S+') do call('PUBLISH', channel, message) end
end

-- Let it be claimed if it may: something that held it back is gone.
local function come_forward(job)
  if job.key then
    face(job.key)
  elseif may_run(job) then
    offer(job)
  end
end

-- Let a waiting job stand at the end of the line.
local function arrive(job, seq)
  job.seq = seq
  if may_be_hidden(job) then place(WAITING, job.id, seq) end
  if job.key then place(LINES, standing(job), 0) end
  come_forward(job)
end

local function end_lease(job)
  job.token, job.lease = nil, nil
  drop_timer(job)
  free(job)
end

-- Let a running job wait again, at its place.
local function put_back(job, after)
  job.state = WAITS
  end_lease(job)
  if after > 0 then
    job.due, job.held = now + after, now
    set_timer(job)
  end
  if may_be_hidden(job) then place(WAITING, job.id, job.seq) end
  come_forward(job)
  touch(job)
end

-- Forget an ended job.
local function forget(job)
  drop_extra(job, 'has_error', ERRORS)
  drop_extra(job, 'has_progress', PROGRESS)
  fill(SPECS, job.id, false)
  remove(ENTRIES, job.id)
  count(job.state, -1)
  book.purged = book.purged + 1
  touch(job)
  jobs[job.id] = false
end

-- Give up the key and the unique text of an ended job, and count what it is kept for from now.
local function leave(job)
  if job.key and job.seq then
    remove(LINES, standing(job))
    face(job.key, true)
  end
  if job.unique then fill(UNIQUES, job.unique, false) end
  if job.retain > 0 then
    keep_until(job, now + job.retain)
  else
    forget(job)
  end
end

local function stop_waiting(job, before)
  if before == SCHEDULED then
    count(SCHEDULED, -1)
  else
    withdraw(job)
    if may_be_hidden(job) then remove(WAITING, job.id) end
  end
  if job.due or job.expires then drop_timer(job) end
  job.due, job.expires = nil, nil
end

-- The job is over. One that is kept for no time leaves at once; a halted one keeps its key.
local function finish(job, state, retain)
  local before = job.state
  job.state, job.finished, job.cancel = state, now, false
  if before == RUNNING then end_lease(job) else stop_waiting(job, before) end
  count_live(job.task, -1)
  count(state, 1)
  job.retain = math.max(job.asked, retain)
  touch(job)
  tell_watchers(job)
  if job.halted then face(job.key) else leave(job) end
end

-- What time alone does to jobs: put and claim begin with it.

local function fall_due(job)
  job.due = nil
  set_timer(job)
  touch(job)
  if job.state == SCHEDULED then
    count(SCHEDULED, -1)
    job.state = WAITS
    arrive(job, next_number())
  else
    if not may_be_hidden(job) then remove(WAITING, job.id) end
    come_forward(job)
  end
end

local function fire_one(job)
  if job.state == RUNNING then
    job.crashes = job.crashes + 1
    if job.cancel then finish(job, CANCELLED, 0) else put_back(job, 0) end
  elseif job.expires and job.expires <= now then
    job.reason = 'expired'
    finish(job, CANCELLED, 0)
  else
    fall_due(job)
  end
end

-- Fire the timers that are due, by (time, entry), at most MAX_TIMERS.
local function fire()
  if not book.first or book.first > now then return end
  local due = call('ZRANGEBYSCORE', TIMERS, '-inf', now, 'LIMIT', 0, MAX_TIMERS)
  local ids = {}
  for index, slip in ipairs(due) do ids[index] = string.sub(slip, 7) end
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = get_job(id)
    drop_timer(job)
    fire_one(job)
  end
end
