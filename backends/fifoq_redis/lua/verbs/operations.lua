-- Cancel, requeue, skip, configure and purge: verbs of operators and of maintenance.

-- ---- changes of listed jobs ----

-- Apply `change` to each job of ARGV[2]: it returns whether it has changed the job, and the id of the job that prevents
-- it, if one does. Returns the reply of cancel, requeue and skip.
local change_jobs
do
  local function changed_reply(job, changed, conflict)
    return array_head(3) .. pack(job and job.state, changed, conflict)
  end

  function change_jobs(change)
    local ids, replies = ARGV[2], {}
    local exists = begin_change(ARGV[1], false)
    if exists then read_jobs(ids) end
    for index, id in ipairs(ids) do
      local job = exists and get_job(id)
      if job then
        local changed, conflict = change(job)
        replies[index] = changed_reply(job, changed, conflict)
      else
        replies[index] = changed_reply(nil, false, nil)
      end
    end
    if exists then end_change() end
    return array_head(#replies) .. table.concat(replies)
  end
end

-- ---- cancel ----
--
-- Cancel jobs that are scheduled or wait; request the cancellation of those that run. Remove damaged ones.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 ids · 3 reason · 4 the ids of damaged jobs among them
-- returns  msgpack: by id its state or nil, whether it was changed, and nil
do

local function drop_job(job)
  job.spec_retain, job.reason = 0, ARGV[3]
  if job.state < SUCCEEDED then
    end_job(job, CANCELLED, 0)
  else
    if job.halted then line_changed(job.key, true) end
    if job.key and job.seq then remove_member(LINES, line_member(job)) end
    if job.unique and field_of(UNIQUES, job.unique) == job.id then set_field(UNIQUES, job.unique, false) end
    drop_retention(job)
    remove_job(job)
    job.state = CANCELLED
  end
end

verb('cancel', 'allow-oom', nil, function()
  local is_damaged = {}
  for _, id in ipairs(ARGV[4]) do is_damaged[id] = true end
  return change_jobs(function(job)
    if is_damaged[job.id] then
      drop_job(job)
      return true
    end
    if job.state >= SUCCEEDED or job.cancel_requested then return false end
    job.reason = ARGV[3]
    if job.state == RUNNING then
      job.cancel_requested = true
      touch(job)
    else
      end_job(job, CANCELLED, 0)
    end
    return true
  end)
end)
end

-- ---- requeue ----
--
-- Put failed jobs back: halted ones at their place, any other at the end of the line.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 ids
-- returns  msgpack: by id its state or nil, whether it was changed, and the id of the job that holds its unique text,
--          or nil
do

local function forget_tries(job)
  job.state, job.halted, job.attempt, job.crashes = WAITING, false, 0, 0
  job.worker, job.started_at, job.finished_at = nil, nil, nil
  drop_extra(job, 'has_error', ERRORS)
  drop_extra(job, 'has_progress', PROGRESS)
end

verb('requeue', 'allow-oom', nil, function()
  return change_jobs(function(job)
    if job.state ~= FAILED then return false end
    local halted, holder = job.halted, job.unique and holder_of(job.unique)
    if not halted and holder then return false, holder end
    if job.unique then set_field(UNIQUES, job.unique, job.id) end
    drop_retention(job)
    forget_tries(job)
    count_jobs(FAILED, -1)
    count_live(job.task, 1)
    touch(job)
    if halted then
      set_score(HIDDEN, job.id, job.seq)
      try_offer(job)
    else
      arrive(job, next_number())
    end
    return true
  end)
end)
end

-- ---- skip ----
--
-- Free the keys of halted jobs for their successors.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 ids
-- returns  msgpack: by id its state or nil, whether it was changed, and nil
do

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

-- ---- configure ----
--
-- Apply settings, in order. The queue is made if there is none.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 settings ({kind, task ('' for the queue), key or nil, values or false}; kinds are
--          'declare', 'override', 'pause', 'resume'; values {limit, value limit, capacity, interval, burst}, false for
--          none)
-- returns  whether the queue was made, 1 or 0
do

-- Put the settings of a gate in force: O(values) if the value limit changed, since each value's gate may open or shut.
local function settings_changed(gate)
  local before = gate.value_limit
  put_in_force(gate)
  gate.changed = true
  if gate.value_limit == before then return end
  show_values()
  write_fields(VALUES)
  for _, name in ipairs(call('HKEYS', VALUES)) do
    local task, value = string.match(name, '^(%Z+)%z(%Z+)$')
    if task == gate.task then value_gate(task, value) end
  end
end

local function pause_key(key)
  if paused_since(key) then return end
  set_field(PAUSED, key, now)
  any_paused = true
  local id = head_of(key)
  local head = id and get_job(id)
  if head and head.state == WAITING then withdraw(head) end
  line_changed(key, true)
end

local function resume_key(key)
  if not paused_since(key) then return end
  set_field(PAUSED, key, false)
  line_changed(key, true)
end

local KINDS = {
  declare = function(gate, _, values)
    gate.declared = values
    settings_changed(gate)
  end,
  override = function(gate, _, values)
    gate.override = values
    settings_changed(gate)
  end,
  pause = function(gate, key)
    if key then pause_key(key) else gate.paused, gate.changed = true, true end
  end,
  resume = function(gate, key)
    if key then resume_key(key) else gate.paused, gate.changed = false, true end
  end,
}

verb('configure', 'allow-oom', nil, function()
  local made = state.schema == 0
  begin_change(ARGV[1], true)
  if made then gate_of('').changed = true end
  for _, setting in ipairs(ARGV[2]) do
    local kind, task, key, values = unpack(setting, 1, 4)
    KINDS[kind](gate_of(task), key, values)
    offer_heads()
  end
  notify_any()
  end_change()
  return made and 1 or 0
end)
end

-- ---- purge ----
--
-- Remove ended jobs whose retention is over, and replies that are too old to be repeated.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 how many jobs at most
-- returns  how many jobs
do

local MAX_REPLIES = 1000

-- Forget the replies whose callers will not repeat their calls any more, at most MAX_REPLIES.
local function forget_replies()
  local old = call('ZRANGEBYSCORE', CALLERS, '-inf', now - KEEP_REPLY - REPLY_SLACK, 'LIMIT', 0, MAX_REPLIES)
  if #old > 0 then
    call('HDEL', STATE, unpack(old))
    call('ZREM', CALLERS, unpack(old))
  end
end

verb('purge', 'allow-oom', nil, function()
  local exists = begin_change(ARGV[1], false)
  forget_replies()
  if not exists then return 0 end
  local ids = take_purgeable(ARGV[2])
  read_jobs(ids)
  local removed = 0
  for _, id in ipairs(ids) do
    local job = get_job(id)
    -- Otherwise it was damaged, and is in ENDS no longer.
    if job and job.state >= SUCCEEDED and not job.halted then
      remove_job(job)
      removed = removed + 1
    end
  end
  end_change()
  return removed
end)
end
