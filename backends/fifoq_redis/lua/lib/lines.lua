-- The ready set, the lines of keys, and the transitions of jobs of which every verb consists, those by timers included.

-- ---- the ready set ----
--
-- READY holds, by task, the offered jobs without a value, and the first offered job of each value whose gate is open.
-- Jobs that are blocked, that back off, or that are over the limit of their value are absent; those of a task whose
-- gate is shut are not read. So they cost a claim nothing.

-- The gates of values that this call has read, by task and value; and those of them that changed.
local value_gates, changed_value_gates

-- How many waiters to notify, by task: one for each job that has become claimable; by '', one of any task for each
-- other change: a freed slot, an earlier timer, new settings.
local to_notify

at_call_start(function() value_gates, changed_value_gates, to_notify = {}, {}, {} end)

-- Have one waiter of any task notified at the end of the call.
local function notify_any()
  to_notify[''] = (to_notify[''] or 0) + 1
end

-- Return the gate of a value of a task, which is about to change.
local function value_gate(task, value)
  local name = task .. '\0' .. value
  local gate = value_gates[name]
  if not gate then
    gate = {name = name, task = task, running = 0, shown = false}
    local packed = call('HGET', VALUES, name)
    if packed then
      local ok, running, shown = pcall(unpack_all, packed)
      if ok and type(running) == 'number' then gate.running, gate.shown = running, shown end
    end
    value_gates[name] = gate
  end
  changed_value_gates[gate] = true
  return gate
end

-- Put the first offered job of a value into READY if the gate is open, or take it out. Returns the job's score and id,
-- false for none.
local function show_value(gate)
  local first, limit = first_members(OFFERS, gate.name, 1)[1], gate_of(gate.task).value_limit
  local shown = first and (not limit or gate.running < limit) and string.sub(first, #gate.name + 2)
  if shown ~= gate.shown then
    if gate.shown then remove_member(READY, gate.task .. '\0' .. gate.shown) end
    if shown then set_score(READY, gate.task .. '\0' .. shown, 0) end
    gate.shown = shown or false
  end
  set_field(VALUES, gate.name, (first or gate.running > 0) and pack(gate.running, gate.shown))
  changed_value_gates[gate] = nil
  return gate.shown
end

local function show_values()
  for gate in pairs(changed_value_gates) do show_value(gate) end
end

-- Offer a job to its gates, and have a waiter notified.
local function offer(job)
  if job.value then
    set_score(OFFERS, job.task .. '\0' .. job.value .. '\0' .. score_of(job) .. job.id, 0)
    value_gate(job.task, job.value)
  else
    set_score(READY, job.task .. '\0' .. score_of(job) .. job.id, 0)
  end
  to_notify[job.task] = (to_notify[job.task] or 0) + 1
end

-- Take back the offer of a job, if it is offered. It holds no slot.
local function withdraw(job)
  if job.value then
    remove_member(OFFERS, job.task .. '\0' .. job.value .. '\0' .. score_of(job) .. job.id)
    value_gate(job.task, job.value)
  else
    remove_member(READY, job.task .. '\0' .. score_of(job) .. job.id)
  end
end

local free_slots
do
  -- Give a running job the value of its spec if that runs a job.
  local function restore_value(job)
    local _, _, value = spec_of(job.id)
    if value and value_gate(job.task, value).running > 0 then job.value, job.damaged = value, true end
  end

  -- Free the slots that the lease of a job held.
  function free_slots(job)
    local own, gate = gate_of(''), gate_of(job.task)
    own.running, own.changed = own.running - 1, true
    gate.running, gate.changed = gate.running - 1, true
    -- A job without a value takes no slot of one, unless its record was damaged since.
    if not job.value and gate.value_limit then restore_value(job) end
    if job.value then
      local value = value_gate(job.task, job.value)
      value.running = value.running - 1
    end
    if own.limit or gate.limit or gate.value_limit then notify_any() end
  end
end

-- ---- the lines of keys ----
--
-- The line of a key is a FIFO of its live jobs, by seq; only its head may be offered. The heads are read once, after
-- all changes of a call: `line_changed` collects the keys, `offer_heads` reads the heads.

-- The keys whose lines changed; true if the head has to be read even if this call has not read it yet.
local changed_lines
-- Whether any key is paused, or blocked; nil until that is read.
local any_paused, any_blocked

at_call_start(function() changed_lines, any_paused, any_blocked = {}, nil, nil end)

local function line_member(job)
  return job.key .. '\0' .. struct.pack('>I6', job.seq) .. job.id
end

-- Return the id of the head of the line of a key; nil if the line is empty.
local function head_of(key)
  local first = first_members(LINES, key, 1)[1]
  return first and string.sub(first, #key + 8)
end

-- Have the head of a line examined by offer_heads. `departed`: a job has left the line, or the key was paused or
-- resumed, so the head has to be read even if this call has not read it yet.
local function line_changed(key, departed)
  changed_lines[key] = changed_lines[key] or departed or false
end

-- Return when a key was paused; nil if it is not.
local function paused_since(key)
  if any_paused == nil then any_paused = call('HLEN', PAUSED) > 0 end
  return any_paused and tonumber(field_of(PAUSED, key)) or nil
end

-- Return why a key is blocked, and since when; nil if its head may be claimed, or only a lease or a gate is in its way.
local function why_blocked(key, head)
  if head and head.halted then return 'halted', head.finished_at end
  local since = paused_since(key)
  if since then return 'paused', since end
  if head and head.due_at then return 'backing off', head.held_since end
end

-- Return whether a job may be offered, if it is the head of its line or has no key.
local function may_run(job)
  return job.state == WAITING and not job.due_at and not (job.key and paused_since(job.key))
end

-- Update the entry of a key in BLOCKED.
local function update_blocked(key, head)
  if any_blocked == nil then any_blocked = call('EXISTS', BLOCKED) > 0 end
  local _, since = why_blocked(key, head)
  if since then
    set_score(BLOCKED, key, since)
    any_blocked = true
  elseif any_blocked then
    remove_member(BLOCKED, key)
  end
end

local offer_heads
do
  -- Return the ids of the heads of changed lines, by key; false for an empty line.
  local function changed_heads()
    local heads, unread = {}, {}
    for key, departed in pairs(changed_lines) do
      local id = head_of(key)
      -- A head that was the head before, and that this call has not read, is as it was.
      if not id or departed or jobs[id] then
        heads[key] = id or false
        if id then unread[#unread + 1] = id end
      end
    end
    read_jobs(unread)
    return heads
  end

  -- Remove the members at the head of a line that name no live job of the key, because one was damaged; return the head
  -- behind them, nil for none.
  local function drop_damaged_heads(key)
    while true do
      local member = first_members(LINES, key, 1)[1]
      local head = member and get_job(string.sub(member, #key + 8))
      if not member or (head and head.key == key and (head.state < SUCCEEDED or head.halted)) then return head end
      remove_member(LINES, member)
    end
  end

  -- Offer the heads of changed lines that may run.
  function offer_heads()
    if not next(changed_lines) then return end
    local heads = changed_heads()
    changed_lines = {}
    for key, id in pairs(heads) do
      local head = id and get_job(id)
      if id and not (head and head.key == key and (head.state < SUCCEEDED or head.halted)) then
        head = drop_damaged_heads(key)
      end
      if head and may_run(head) then offer(head) end
      update_blocked(key, head)
    end
  end
end

-- ---- transitions ----

-- Offer a job if it may run, after a reason against that is gone. A job with a key is offered by offer_heads.
local function try_offer(job)
  if job.key then
    line_changed(job.key)
  elseif may_run(job) then
    offer(job)
  end
end

-- Put a waiting job at the end of the line.
local function arrive(job, seq)
  job.seq = seq
  if may_be_hidden(job) then set_score(HIDDEN, job.id, seq) end
  if job.key then set_score(LINES, line_member(job), 0) end
  try_offer(job)
end

local function end_lease(job)
  job.token, job.lease_end = nil, nil
  drop_timer(job)
  free_slots(job)
end

-- Return a running job to waiting, at its place, claimable `after` microseconds from now.
local function put_back(job, after)
  job.state = WAITING
  end_lease(job)
  if after > 0 then
    job.due_at, job.held_since = now + after, now
    set_timer(job)
  end
  if may_be_hidden(job) then set_score(HIDDEN, job.id, job.seq) end
  try_offer(job)
  touch(job)
end

-- Remove an ended job.
local function remove_job(job)
  drop_extra(job, 'has_error', ERRORS)
  drop_extra(job, 'has_progress', PROGRESS)
  set_field(SPECS, job.id, false)
  remove_member(ENTRIES, job.id)
  count_jobs(job.state, -1)
  state.purged = state.purged + 1
  touch(job)
  jobs[job.id] = false
end

-- Free the key and the unique text of an ended job, and start its retention.
local function leave(job)
  if job.key and job.seq then
    remove_member(LINES, line_member(job))
    line_changed(job.key, true)
  end
  if job.unique then set_field(UNIQUES, job.unique, false) end
  if job.retain > 0 then
    keep_until(job, now + job.retain)
  else
    remove_job(job)
  end
end

local function stop_waiting(job, before)
  if before == SCHEDULED then
    count_jobs(SCHEDULED, -1)
  else
    withdraw(job)
    if may_be_hidden(job) then remove_member(HIDDEN, job.id) end
  end
  if job.due_at or job.expires_at then drop_timer(job) end
  job.due_at, job.expires_at = nil, nil
end

-- Notify the backends that wait for the end of a job. The message contains the record: the job may be removed before
-- they could read it.
local function notify_end(job)
  local channels = state.awaited > 0 and call('HGET', AWAITED, job.id)
  if not channels then return end
  call('HDEL', AWAITED, job.id)
  state.awaited = state.awaited - 1
  local message = 'e' .. STATE .. '\0' .. job.id .. '\0' .. record_of(job)
  for channel in string.gmatch(channels, '%S+') do call('PUBLISH', channel, message) end
end

-- End a job. One with no retention is removed at once; a halted one keeps its key.
local function end_job(job, ended_as, retain)
  local before = job.state
  job.state, job.finished_at, job.cancel_requested = ended_as, now, false
  if before == RUNNING then end_lease(job) else stop_waiting(job, before) end
  count_live(job.task, -1)
  count_jobs(ended_as, 1)
  job.retain = math.max(job.spec_retain, retain)
  touch(job)
  notify_end(job)
  if job.halted then line_changed(job.key) else leave(job) end
end

-- ---- due timers ----
--
-- Every put and every claim first fires the timers that are due.

local fire_timers
do
  -- Make a job claimable whose delay or back-off is over.
  local function fall_due(job)
    job.due_at = nil
    set_timer(job)
    touch(job)
    if job.state == SCHEDULED then
      count_jobs(SCHEDULED, -1)
      job.state = WAITING
      arrive(job, next_number())
    else
      if not may_be_hidden(job) then remove_member(HIDDEN, job.id) end
      try_offer(job)
    end
  end

  local function fire_timer(job)
    if job.damaged and job.state == WAITING then
      -- It waits no longer: a worker sets it aside.
      job.due_at, job.expires_at = nil, nil
      touch(job)
      try_offer(job)
    elseif job.state == RUNNING then
      job.crashes = job.crashes + 1
      if job.cancel_requested then end_job(job, CANCELLED, 0) else put_back(job, 0) end
    elseif job.expires_at and job.expires_at <= now then
      job.reason = 'expired'
      end_job(job, CANCELLED, 0)
    else
      fall_due(job)
    end
  end

  -- Return the time at which a job next changes by itself; infinite for never.
  local function timer_of(job)
    if job.state == RUNNING then return job.lease_end end
    return math.min(job.due_at or math.huge, job.expires_at or math.huge)
  end

  -- Fire the timers that are due, by (time, entry), at most MAX_TIMERS.
  function fire_timers()
    if not state.first_timer or state.first_timer > now then return end
    local due = call('ZRANGEBYSCORE', TIMERS, '-inf', now, 'LIMIT', 0, MAX_TIMERS)
    local ids = {}
    for index, member in ipairs(due) do ids[index] = string.sub(member, 7) end
    read_jobs(ids)
    for index, id in ipairs(ids) do
      local job = get_job(id)
      any_moved = true
      remove_member(TIMERS, due[index])
      local at = job and job.state < SUCCEEDED and timer_of(job)
      if at and (at <= now or at == math.huge) then
        fire_timer(job)
      elseif at then
        move_timer(job, at)  -- The job was damaged: this timer was not its own.
      end
    end
  end
end
