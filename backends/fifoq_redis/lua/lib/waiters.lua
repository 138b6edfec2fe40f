-- Waiters for claimable jobs, the claims made ahead for them, and the end of every call that changes the queue.
--
-- A waiter is the backend of a worker. It is registered in WAITERS by its channel, with the tasks that its worker
-- knows, and may leave its next claim there. The call that makes a job claimable then makes that claim in the same step
-- and publishes its reply, so that the worker need not send it. A message may be lost: then the worker sends the claim,
-- and gets the stored reply as for any repeated call.

-- ---- registration ----

-- How long a claim may be made ahead after it was left. After this time its worker may hang, and is only woken.
local AHEAD_WITHIN = 1000000

-- Register a waiter. The claim `caller.number` may be made ahead for up to `most` jobs; for none if that is 0.
-- `known_tasks`: each between zero bytes, or '' for all tasks.
local function register_waiter(channel, known_tasks, most, caller, number, worker, duration)
  local ahead_until = now + math.min(AHEAD_WITHIN, math.floor(duration / 4))
  call('HSET', WAITERS, channel, pack(known_tasks, most, ahead_until, caller, number, worker, duration))
end

local function unregister_waiter(channel)
  call('HDEL', WAITERS, channel)
end

-- ---- notifications ----

-- Bytes of the longest reply in a message. A waiter is woken to fetch a longer one: the server disconnects a subscriber
-- that is sent too much at once.
local MAX_MESSAGE = 65536
-- How many waiters are read by one call at most.
local MAX_WAITERS = 64

-- The caller of this call, if it is a claim: it supersedes the claim that its caller left before.
local claiming_caller

at_call_start(function() claiming_caller = nil end)

-- Return the task for which to notify a waiter: one that it knows and that has claimable jobs, or ''; nil for none.
local function task_to_notify(known_tasks)
  for task in pairs(to_notify) do
    local is_known = task == '' or known_tasks == '' or string.find(known_tasks, '\0' .. task .. '\0', 1, true)
    if is_known then return task end
  end
end

local function is_subscribed(channel)
  return call('PUBSUB', 'NUMSUB', channel)[2] > 0
end

-- Make the claim that a waiter has left; return the message with its reply, or nil if the waiter has to claim itself.
local function claim_ahead(known_tasks, most, ahead_until, caller, number, worker, duration)
  if not most or most == 0 or ahead_until < now or (state.first_timer and state.first_timer <= now) then return nil end
  if recall_claim(caller, number) then return nil end
  local tasks = {}
  for task in string.gmatch(known_tasks, '%Z+') do tasks[#tasks + 1] = task end
  local count, leases_shown, specs_shown = take_jobs(tasks, most, caller, number, worker, duration)
  if count == 0 then return nil end
  update_first_timer()
  local reply = keep_ahead_reply(caller, number, claimed_reply(tasks, leases_shown, specs_shown))
  if #reply > MAX_MESSAGE then return 'w' .. STATE end
  return 'c' .. STATE .. '\0' .. caller .. '\0' .. number .. '\0' .. reply
end

-- Notify one waiter for each job that has become claimable, one that knows its task. A waiter without a subscriber is
-- gone: another one is notified.
local function notify_waiters()
  local waiters = call('HRANDFIELD', WAITERS, MAX_WAITERS, 'WITHVALUES')
  for index = 1, #waiters, 2 do
    if next(to_notify) == nil then return end
    local channel = waiters[index]
    local ok, known_tasks, most, ahead_until, caller, number, worker, duration = pcall(unpack_all, waiters[index + 1])
    if not ok or type(known_tasks) ~= 'string' or type(most) ~= 'number' or type(ahead_until) ~= 'number' then
      -- It cannot be read. Its worker polls, and registers again.
      unregister_waiter(channel)
      known_tasks = '\0'
    end
    local task = caller ~= claiming_caller and task_to_notify(known_tasks)
    if task then
      unregister_waiter(channel)
      if is_subscribed(channel) then
        local message = claim_ahead(known_tasks, most, ahead_until, caller, number, worker, duration)
        call('PUBLISH', channel, message or 'w' .. STATE)
        -- Leases have lowered the count of their task already, and a claim that found too few jobs has removed it.
        local count = to_notify[task]
        if count and (task == '' or not message) then to_notify[task] = count > 1 and count - 1 or nil end
      end
    end
  end
end

-- ---- the end of a change ----

-- End a call that changes the queue: notify waiters, and write all changes but those of STATE.
local function end_change()
  offer_heads()
  show_values()
  update_first_timer()
  if first_of_waiting and state.first_timer == first_of_waiting then notify_any() end
  if next(to_notify) ~= nil then
    state.version = state.version + 1
    notify_waiters()
  end
  write_retention()
  write_jobs()
  write_gates()
  write_state()
  write_changes()
end
