-- Ready jobs, the lines of keys, the transitions of jobs, and timers that fire.

-- ---- ready jobs ----

-- READY has, by task, the offered jobs without a value and the first offer of each open value. A job that is blocked,
-- backing off or over its value's limit is not in READY; jobs of a closed task or queue are never read.

local values, changed_values
-- The number of jobs of each task that became claimable in this call; by '', the slots and timers that may have made
-- one claimable.
local offered

at_begin(function() values, changed_values, offered = {}, {}, {} end)

local function note_opening()
  offered[''] = (offered[''] or 0) + 1
end

-- Return the gate of a value of a task, to be changed.
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

-- Put the first offer of a value's gate into READY if the gate is open, or take it out. Return its member there.
local function show_value(gate)
  local first, limit = first_of(OFFERS, gate.name, 1)[1], gate_of(gate.task).value_limit
  local shown = first and (not limit or gate.running < limit) and string.sub(first, #gate.name + 2)
  if shown ~= gate.shown then
    if gate.shown then remove(READY, gate.task .. '\0' .. gate.shown) end
    if shown then set_score(READY, gate.task .. '\0' .. shown, 0) end
    gate.shown = shown or false
  end
  set_field(VALUES, gate.name, (first or gate.running > 0) and pack(gate.running, gate.shown))
  changed_values[gate] = nil
  return gate.shown
end

local function show_values()
  for gate in pairs(changed_values) do show_value(gate) end
end

local function offer(job)
  if job.value then
    set_score(OFFERS, job.task .. '\0' .. job.value .. '\0' .. score_of(job) .. job.id, 0)
    value_of(job.task, job.value)
  else
    set_score(READY, job.task .. '\0' .. score_of(job) .. job.id, 0)
  end
  offered[job.task] = (offered[job.task] or 0) + 1
end

-- Withdraw a job, if it is offered. It holds no slot.
local function withdraw(job)
  if job.value then
    remove(OFFERS, job.task .. '\0' .. job.value .. '\0' .. score_of(job) .. job.id)
    value_of(job.task, job.value)
  else
    remove(READY, job.task .. '\0' .. score_of(job) .. job.id)
  end
end

-- Free the slots that a lease held.
local function free(job)
  local own, gate = gate_of(''), gate_of(job.task)
  own.running, own.changed = own.running - 1, true
  gate.running, gate.changed = gate.running - 1, true
  if job.value then
    local value = value_of(job.task, job.value)
    value.running = value.running - 1
  end
  if own.limit or gate.limit or gate.value_limit then note_opening() end
end

-- ---- lines ----

-- The line of a key is its live jobs by seq. Only its head may be offered. Heads are read once, after all changes of a
-- call: `offer_head` collects the keys, `offer_heads` offers their heads.

local changed_lines, any_paused, any_blocked

at_begin(function() changed_lines, any_paused, any_blocked = {}, nil, nil end)

local function line_member(job)
  return job.key .. '\0' .. struct.pack('>I6', job.seq) .. job.id
end

-- Return the id of the head of a line; nil if the line is empty.
local function head_of(key)
  local first = first_of(LINES, key, 1)[1]
  return first and string.sub(first, #key + 8)
end

-- Have the head of a line offered at the end of the call. `departed`: the call may not have read that head yet.
local function offer_head(key, departed)
  changed_lines[key] = changed_lines[key] or departed or false
end

local function paused_since(key)
  if any_paused == nil then any_paused = call('HLEN', PAUSED) > 0 end
  return any_paused and tonumber(field_of(PAUSED, key)) or nil
end

-- Return why the head of a line may not be claimed, and since when; nil if only a lease or a gate prevents it.
local function why_blocked(key, head)
  if head and head.halted then return 'halted', head.finished end
  local since = paused_since(key)
  if since then return 'paused', since end
  if head and head.due then return 'backing off', head.held end
end

local function may_run(job)
  return job.state == WAITS and not job.due and not (job.key and paused_since(job.key))
end

local function mark_blocked(key, head)
  if any_blocked == nil then any_blocked = call('EXISTS', BLOCKED) > 0 end
  local _, since = why_blocked(key, head)
  if since then
    set_score(BLOCKED, key, since)
    any_blocked = true
  elseif any_blocked then
    remove(BLOCKED, key)
  end
end

local function changed_heads()
  local heads, unread = {}, {}
  for key, departed in pairs(changed_lines) do
    local id = head_of(key)
    -- A head that was the head before, and was not changed by this call, is offered or blocked as before.
    if not id or departed or jobs[id] then
      heads[key] = id or false
      if id then unread[#unread + 1] = id end
    end
  end
  read_jobs(unread)
  return heads
end

local function offer_heads()
  if not next(changed_lines) then return end
  local heads = changed_heads()
  changed_lines = {}
  for key, id in pairs(heads) do
    local head = id and get_job(id)
    if head and may_run(head) then offer(head) end
    mark_blocked(key, head)
  end
end

-- ---- transitions ----

-- Notify the waiters for the end of a job, with its last record: the job may be removed before they query it.
local function notify_finished(job)
  local watchers = queue.awaited > 0 and call('HGET', AWAITED, job.id)
  if not watchers then return end
  call('HDEL', AWAITED, job.id)
  queue.awaited = queue.awaited - 1
  local message = 'e' .. STATE .. '\0' .. job.id .. '\0' .. show_job(job)
  for channel in string.gmatch(watchers, '%S+') do call('PUBLISH', channel, message) end
end

-- Offer a job that may run now, since its delay, back-off or lease has ended.
local function offer_if_ready(job)
  if job.key then
    offer_head(job.key)
  elseif may_run(job) then
    offer(job)
  end
end

-- Put a waiting job at the end of the line.
local function arrive(job, seq)
  job.seq = seq
  if may_be_hidden(job) then set_score(WAITING, job.id, seq) end
  if job.key then set_score(LINES, line_member(job), 0) end
  offer_if_ready(job)
end

local function end_lease(job)
  job.token, job.lease = nil, nil
  drop_timer(job)
  free(job)
end

-- Return a running job to waiting, at its place.
local function put_back(job, after)
  job.state = WAITS
  end_lease(job)
  if after > 0 then
    job.due, job.held = now + after, now
    set_timer(job)
  end
  if may_be_hidden(job) then set_score(WAITING, job.id, job.seq) end
  offer_if_ready(job)
  touch(job)
end

-- Remove an ended job.
local function forget(job)
  drop_extra(job, 'has_error', ERRORS)
  drop_extra(job, 'has_progress', PROGRESS)
  set_field(SPECS, job.id, false)
  remove(ENTRIES, job.id)
  count(job.state, -1)
  queue.purged = queue.purged + 1
  touch(job)
  jobs[job.id] = false
end

-- Free the key and the unique text of an ended job, and start its retention.
local function leave(job)
  if job.key and job.seq then
    remove(LINES, line_member(job))
    offer_head(job.key, true)
  end
  if job.unique then set_field(UNIQUES, job.unique, false) end
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

-- End a job. One without retention is removed at once; a halted one keeps its key.
local function finish(job, state, retain)
  local before = job.state
  job.state, job.finished, job.cancel = state, now, false
  if before == RUNNING then end_lease(job) else stop_waiting(job, before) end
  count_live(job.task, -1)
  count(state, 1)
  job.retain = math.max(job.asked, retain)
  touch(job)
  notify_finished(job)
  if job.halted then offer_head(job.key) else leave(job) end
end

-- ---- timers that fire ----

-- Put and claim fire the due timers first.

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
    offer_if_ready(job)
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
  if not queue.first or queue.first > now then return end
  local due = call('ZRANGEBYSCORE', TIMERS, '-inf', now, 'LIMIT', 0, MAX_TIMERS)
  local ids = {}
  for index, member in ipairs(due) do ids[index] = string.sub(member, 7) end
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = get_job(id)
    drop_timer(job)
    fire_one(job)
  end
end
