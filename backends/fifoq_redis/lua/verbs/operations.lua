-- The verbs of operators: cancel, requeue, skip, configure, purge.

do
-- cancel, requeue and skip change the jobs of a list or leave them; the reply has which.

local function changed_reply(job, changed, conflict)
  return array(3) .. pack(job and job.state, changed, conflict)
end

-- ARGV  1 test clock or '' · 2 ids
-- gives msgpack: by id its state or nil, whether it was changed, and the id of the job in its way
local function change_jobs(change)
  local ids, replies = ARGV[2], {}
  local there = begin(ARGV[1], false)
  if there then read_jobs(ids) end
  for index, id in ipairs(ids) do
    local job = there and find_job(id)
    if job then
      local changed, conflict = change(job)
      replies[index] = changed_reply(job, changed, conflict)
    else
      replies[index] = changed_reply(nil, false, nil)
    end
  end
  if there then end_change() end
  return array(#replies) .. table.concat(replies)
end

do -- cancel
-- cancel: cancel waiting jobs; request it of running ones.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 ids · 3 reason
-- gives as change_jobs

verb('cancel', 'allow-oom', nil, function()
  return change_jobs(function(job)
    if job.state >= SUCCEEDED or job.cancel then return false end
    job.reason = ARGV[3]
    if job.state == RUNNING then
      job.cancel = true
      touch(job)
    else
      finish(job, CANCELLED, 0)
    end
    return true
  end)
end)
end

do -- requeue
-- requeue: put failed jobs back: halted ones at their place, any other at the end of the line.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 ids
-- gives as change_jobs

local function forget_tries(job)
  job.state, job.halted, job.attempt, job.crashes = WAITS, false, 0, 0
  job.worker, job.started, job.finished = nil, nil, nil
  drop_extra(job, 'has_error', ERRORS)
  drop_extra(job, 'has_progress', PROGRESS)
end

verb('requeue', 'allow-oom', nil, function()
  return change_jobs(function(job)
    if job.state ~= FAILED then return false end
    local halted, holder = job.halted, job.unique and field_of(UNIQUES, job.unique)
    if not halted and holder then return false, holder end
    if job.unique then set_field(UNIQUES, job.unique, job.id) end
    requeued(job)
    forget_tries(job)
    count(FAILED, -1)
    count_live(job.task, 1)
    touch(job)
    if halted then
      set_score(WAITING, job.id, job.seq)
      offer_if_ready(job)
    else
      arrive(job, next_number())
    end
    return true
  end)
end)
end

do -- skip
-- skip: let the keys of halted jobs go on without them.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 ids
-- gives as change_jobs

verb('skip', 'allow-oom', nil, function()
  return change_jobs(function(job)
    if not job.halted then return false end
    job.halted = false
    touch(job)
    leave(job)
    return true
  end)
end)
end

do -- configure
-- configure: apply settings, in order. The queue is made if there is none.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 settings ({kind, task ('' is the queue), key or nil, values or false}; kinds are
--       'declare', 'override', 'pause', 'resume'; values {limit, value limit, capacity, interval, burst}, false for
--       none)
-- gives whether the queue was made, 1 or 0

-- Put a gate's settings in force: O(values) if their width changed.
local function put_settings_in_force(gate)
  local before = gate.value_limit
  put_in_force(gate)
  gate.changed = true
  if gate.value_limit == before then return end
  show_values()
  write_fields(VALUES)
  for _, name in ipairs(call('HKEYS', VALUES)) do
    local task, value = string.match(name, '^(%Z+)%z(%Z+)$')
    if task == gate.task then value_of(task, value) end
  end
end

local function pause_key(key)
  if paused_since(key) then return end
  set_field(PAUSED, key, now)
  any_paused = true
  local id = head_of(key)
  local head = id and get_job(id)
  if head and head.state == WAITS then withdraw(head) end
  offer_head(key, true)
end

local function resume_key(key)
  if not paused_since(key) then return end
  set_field(PAUSED, key, false)
  offer_head(key, true)
end

local KINDS = {
  declare = function(gate, _, values)
    gate.declared = values
    put_settings_in_force(gate)
  end,
  override = function(gate, _, values)
    gate.override = values
    put_settings_in_force(gate)
  end,
  pause = function(gate, key)
    if key then pause_key(key) else gate.paused, gate.changed = true, true end
  end,
  resume = function(gate, key)
    if key then resume_key(key) else gate.paused, gate.changed = false, true end
  end,
}

verb('configure', 'allow-oom', nil, function()
  local made = queue.schema == 0
  begin(ARGV[1], true)
  for _, setting in ipairs(ARGV[2]) do
    local kind, task, key, values = unpack(setting, 1, 4)
    KINDS[kind](gate_of(task), key, values)
    offer_heads()
  end
  note_opening()
  end_change()
  return made and 1 or 0
end)
end

do -- purge
-- purge: remove ended jobs whose retention is over, and old replies.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 how many jobs at most
-- gives how many jobs

-- Remove replies older than KEEP_REPLY: no caller repeats a call after so long.
local function forget_replies(limit)
  local old = call('ZRANGEBYSCORE', CALLERS, '-inf', now - KEEP_REPLY - LATE, 'LIMIT', 0, limit)
  if #old > 0 then
    call('HDEL', STATE, unpack(old))
    call('ZREM', CALLERS, unpack(old))
  end
end

verb('purge', 'allow-oom', nil, function()
  local there = begin(ARGV[1], false)
  forget_replies(MAX_TIMERS)
  if not there then return 0 end
  local ids = take_expired(ARGV[2])
  read_jobs(ids)
  for _, id in ipairs(ids) do forget(get_job(id)) end
  end_change()
  return #ids
end)
end
end
