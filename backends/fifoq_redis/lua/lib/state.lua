-- The state of a queue, read at the start of every call: its counters and its time, the last reply to each caller, and
-- the gates of the queue and of its tasks. A call that changes the queue writes it back at its end.

-- The schema of the keys of a queue.
local SCHEMA = 1

-- The states of jobs, as they are stored.
local SCHEDULED, WAITING, RUNNING, SUCCEEDED, FAILED, CANCELLED = 0, 1, 2, 3, 4, 5

-- ---- counters and time ----

-- The field of STATE with the counters.
local COUNTERS = '\0'

-- `now` is the time of the call. All times are microseconds.
local state, now

-- Read the counters. They are one packed field: that costs every call less than a field for each of them.
local function read_state(packed)
  local schema, last_time, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
        awaited, first_timer
  if packed then
    schema, last_time, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
      awaited, first_timer = unpack_all(packed)
  end
  now = nil
  state = {
    schema = schema or 0, last_time = last_time or 0, offset = offset or 0, number = number or 0, fence = fence or 0,
    version = version or 0, accepted = accepted or 0, purged = purged or 0, scheduled = scheduled or 0,
    succeeded = succeeded or 0, failed = failed or 0, cancelled = cancelled or 0, awaited = awaited or 0,
    first_timer = first_timer or false,
  }
end

local function write_state()
  set_field(STATE, COUNTERS, pack(
    state.schema, state.last_time, state.offset, state.number, state.fence, state.version, state.accepted,
    state.purged, state.scheduled, state.succeeded, state.failed, state.cancelled, state.awaited, state.first_timer
  ))
end

-- Set the time of the call: that of the test clock, if there is one, else the server's, read once. If the clock was set
-- back, the time runs on from the last one used.
local function set_now(test_clock)
  local wall = tonumber(test_clock)
  if not wall then
    local time = call('TIME')
    wall = time[1] * 1000000 + time[2]
  end
  now = wall + state.offset
  if now < state.last_time then
    state.offset, now = state.offset + state.last_time - now, state.last_time
  end
end

-- Return the names of all gates. The other fields of STATE begin with a zero byte.
local function gate_names()
  local names = {}
  for _, name in ipairs(call('HKEYS', STATE)) do
    if string.byte(name) ~= 0 then names[#names + 1] = name end
  end
  return names
end

-- Return whether there are data of a queue whose counters are lost, or data that are not fifoq's. CALLERS, WAITERS and
-- AWAITED are not examined: a caller or a waiter may have come before the first job.
local function is_foreign()
  return #gate_names() > 0 or call('EXISTS', unpack(KEYS, 2, 16)) > 0
end

-- Begin a call that changes the queue. If there is no queue yet, make it if `make` is true, else return false.
local function begin_change(test_clock, make)
  set_now(test_clock)
  if state.schema == 0 then
    if not make then return false end
    if is_foreign() then error({err = 'FOREIGN'}) end
    state.schema = SCHEMA
  end
  state.last_time = now
  return true
end

-- Return the next number of the queue, for an entry or a seq.
local function next_number()
  state.number = state.number + 1
  return state.number
end

-- Add `by` to the number of jobs in a state. Waiting and running jobs are counted by the gates.
local function count_jobs(job_state, by)
  if job_state == SUCCEEDED then
    state.succeeded = state.succeeded + by
  elseif job_state == SCHEDULED then
    state.scheduled = state.scheduled + by
  elseif job_state == FAILED then
    state.failed = state.failed + by
  else
    state.cancelled = state.cancelled + by
  end
end

-- ---- replies ----
--
-- The last reply of each verb to each caller is stored, so that a repeated call has no second effect. The reply to a
-- claim made ahead is stored as that of a verb 'ahead', beside the reply to the claim before it: the caller may not
-- have received that one.

-- How long a reply is kept at least.
local KEEP_REPLY = 3600000000
-- How far a score in CALLERS may lag behind the caller's last call: most calls need not write it, and replies are kept
-- longer by as much.
local REPLY_SLACK = 300000000

-- The last replies that this call has read, with their heads, false for none; and their callers' scores in CALLERS.
-- Both are by field of STATE.
local last_replies, caller_scores

at_call_start(function() last_replies, caller_scores = {}, {} end)

-- Return the field of STATE with the last reply of a verb to a caller. No task's name begins with a zero byte.
local function reply_field(verb, caller)
  return '\0' .. verb .. ' ' .. caller
end

-- Return the stored reply to a repeated call, nil to a new one, an error to a call that a later one of its caller
-- overtook.
local function recall(verb, caller, number)
  local field = reply_field(verb, caller)
  if last_replies[field] == nil then last_replies[field] = call('HGET', STATE, field) end
  if not last_replies[field] then return nil end
  local last, score, start = struct.unpack('>I8I8', last_replies[field])
  caller_scores[field] = score
  if number == last then return string.sub(last_replies[field], start) end
  if number < last then return redis.error_reply('OVERTAKEN ' .. last) end
  return nil
end

-- Return the stored reply to a claim that was made before, by a call or ahead.
local function recall_claim(caller, number)
  return recall('claim', caller, number) or recall('ahead', caller, number)
end

local function keep_reply(verb, caller, number, reply)
  local field = reply_field(verb, caller)
  if not caller_scores[field] or now - caller_scores[field] > REPLY_SLACK then
    caller_scores[field] = now
    call('ZADD', CALLERS, now, field)
  end
  set_field(STATE, field, struct.pack('>I8I8', number, caller_scores[field]) .. reply)
  return reply
end

-- Store the reply to a claim made ahead. If the claim before it was made ahead too, the caller may have received the
-- reply to neither: the earlier one then becomes the caller's last claim.
local function keep_ahead_reply(caller, number, reply)
  local before = recall('ahead', caller, number - 1)
  if before then keep_reply('claim', caller, number - 1, before) end
  return keep_reply('ahead', caller, number, reply)
end

-- ---- gates ----
--
-- The queue (task '') and each of its tasks have a gate: how many jobs may run, how many do, and the rate. A slot is
-- held by a lease and by nothing else.

local NO_SETTINGS = {}

-- The gates that this call has read, by task.
local gates

at_call_start(function() gates = {} end)

-- Put the override in force, or else the declared settings: {limit, value limit, capacity, interval, burst}, with false
-- for none.
local function put_in_force(gate)
  local settings = gate.override or gate.declared or NO_SETTINGS
  gate.limit, gate.value_limit, gate.capacity = settings[1] or nil, settings[2] or nil, settings[3] or nil
  gate.interval, gate.burst = settings[4] or nil, settings[5] or 1
end

-- Decode a gate. `tat`: when the rate's token bucket is full again, the theoretical arrival time of GCRA.
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

-- Return whether the gate of a task is as if it had never been: no jobs, settings or pause, and no token of a rate still
-- out. That of a rate that was lifted counts if the rate comes back.
local function is_blank(task, gate)
  return gate.live == 0 and not gate.declared and task ~= '' and gate.running == 0 and gate.tat <= now
    and not gate.paused and not gate.override
end

-- Write the changed gates, and remove the blank ones: names that only operators used would stay for ever.
local function write_gates()
  for task, gate in pairs(gates) do
    if gate.changed then
      gate.changed = false
      set_field(STATE, task, not is_blank(task, gate)
        and pack(gate.live, gate.running, gate.tat, gate.paused, gate.declared, gate.override))
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
local function take(gate, n)
  gate.running, gate.changed = gate.running + n, true
  if gate.interval then gate.tat = math.max(gate.tat, now) + n * gate.interval end
end

-- Return when the gate's next token comes; nil unless the gate is shut for want of a token alone.
local function opens_at(gate)
  if not gate.interval or gate.paused or (gate.limit and gate.running >= gate.limit) then return nil end
  local at = gate.tat - (gate.burst - 1) * gate.interval
  return at > now and at or nil
end

-- Add `by` to the number of scheduled, waiting and running jobs.
local function count_live(task, by)
  local own, gate = gate_of(''), gate_of(task)
  own.live, own.changed = own.live + by, true
  gate.live, gate.changed = gate.live + by, true
end

-- ---- verbs ----

-- Read the counters, the gates of the queue and of `tasks`, and the last replies to `recalls`: pairs of a verb and the
-- position of the caller in ARGV.
local function open_state(tasks, recalls)
  local names, gates_end = {COUNTERS, ''}, 2 + #tasks
  for index = 1, #tasks do names[index + 2] = tasks[index] end
  for index = 1, #recalls, 2 do
    local caller = ARGV[recalls[index + 1]]
    if caller then names[#names + 1] = reply_field(recalls[index], caller) end
  end
  local found = read_fields(STATE, names)
  read_state(found[1])
  for index = 2, gates_end do read_gate(names[index], found[index]) end
  for index = gates_end + 1, #names do last_replies[names[index]] = found[index] end
end

local NO_NAMES = {}

-- Register a verb of the queue as a function of the library. `flag`: 'no-writes' for a verb that only reads,
-- 'allow-oom' for one that has to work at maxmemory. `tasks_at`: the position in ARGV of the tasks whose gates the verb
-- needs, if they are known at its start; `run` gets these tasks. `recalls`: as for open_state.
local function verb(name, flag, tasks_at, run, recalls)
  redis.register_function({
    function_name = LIBRARY .. '_' .. name,
    flags = {flag},
    callback = function(keys, args)
      start_call(keys, args)
      local tasks = tasks_at and ARGV[tasks_at] or NO_NAMES
      open_state(tasks, recalls or NO_NAMES)
      if state.schema > SCHEMA then return redis.error_reply('NEWERSCHEMA ' .. state.schema) end
      local reply = run(tasks)
      write_fields(STATE)
      return reply
    end,
  })
end
