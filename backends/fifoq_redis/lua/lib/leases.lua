-- Leases: which jobs a claim takes, the reply to a claim, waiting workers, and how leases end.

-- ---- choosing ----

-- A claim takes n times the best claimable job of the tasks that its worker knows, and calls `lease` for each.

-- The whole library is one chunk, which has at most 200 locals, so helpers of one part are local to a block.
local score_in, claim_jobs, time_to_wait
do
  function score_in(member, start)
    return (struct.unpack('>I7', member, start))
  end

  -- Take a slot of the value's gate for this job, and show its next one; return the score of that.
  local function admit(job, member)
    local value = value_of(job.task, job.value)
    value.running = value.running + 1
    value.shown = false
    remove(OFFERS, job.task .. '\0' .. job.value .. '\0' .. string.sub(member, #job.task + 2))
    local shown = show_value(value)
    return shown and score_in(shown, 1)
  end

  -- Return a task's gate, its first ready jobs, and the score of the first; nil if the gate is closed or has none.
  local function open_gate(task, n, step)
    local gate = gate_of(task)
    local most = room(gate, n)
    if most == 0 then return nil end
    local members = first_of(READY, task, math.min(most, step or most))
    return members[1] and {gate = gate, members = members, score = score_in(members[1], #task + 2), step = step}
  end

  -- Lease up to `most` jobs of one gate while their scores are below `bound`; return how many.
  local function lease_run(one, most, bound, lease)
    local task, members, ids, taken = one.gate.task, one.members, {}, 0
    for index, member in ipairs(members) do ids[index] = string.sub(member, #task + 9) end
    read_jobs(ids)
    for index, id in ipairs(ids) do
      if taken == most or score_in(members[index], #task + 2) >= bound then break end
      local job = get_job(id)
      remove(READY, members[index])
      lease(job)
      taken = taken + 1
      if job.value then
        bound = math.min(bound, admit(job, members[index]) or bound)
        -- The value's next job is known only now, so read no more members at once than can be used.
        one.step = math.max(4, 2 * taken)
      end
    end
    take_slots(one.gate, taken)
    take_slots(gate_of(''), taken)
    return taken
  end

  -- Return the gate with the smallest score, and the smallest score of all others.
  local function best_of(open_gates)
    local best, bound = nil, math.huge
    for _, one in pairs(open_gates) do
      if not best or one.score < best.score then
        best, bound = one, best and best.score or math.huge
      elseif one.score < bound then
        bound = one.score
      end
    end
    return best, bound
  end

  -- Each of many tasks has few of the best jobs, so the first read of each is one member, and later ones are larger.
  function claim_jobs(tasks, n, lease)
    local left, open_gates = room(gate_of(''), n), {}
    if left == 0 then return end
    for _, task in ipairs(tasks) do open_gates[task] = open_gate(task, left, #tasks > 1 and 1 or nil) end
    while left > 0 do
      local best, bound = best_of(open_gates)
      if not best then return end
      left = left - lease_run(best, left, bound, lease)
      open_gates[best.gate.task] = left > 0 and open_gate(best.gate.task, left, best.step and 2 * best.step) or nil
    end
  end

  -- Return the time until a timer fires or a gate gets a token; early at times, never late.
  function time_to_wait(tasks)
    local at = queue.first
    for index = 0, #tasks do
      local opens = opens_at(gate_of(tasks[index] or ''))
      if opens and (not at or opens < at) then at = opens end
    end
    return at and math.max(0, at - now) or nil
  end
end

-- ---- a claim ----

-- A claim is the same whether its worker calls now or has left it to be made ahead.

-- The leases of this claim, packed; the ids of their jobs; the prefix of their tokens, their worker and duration.
local leases, leased, prefix, holder, term

local function lease(job)
  queue.fence = queue.fence + 1
  job.state, job.token, job.worker = RUNNING, prefix .. queue.fence, holder
  job.started, job.lease, job.attempt = now, now + term, job.attempt + 1
  drop_extra(job, 'has_progress', PROGRESS)
  if job.expires then move_timer(job, job.lease) else add_timer(job, job.lease) end
  job.expires = nil
  if may_be_hidden(job) then unset_score(WAITING, job.id) end
  touch(job)
  leases[#leases + 1] = pack(queue.fence, job.entry, job.seq, job.attempt, job.crashes, job.created)
  leased[#leased + 1] = job.id
  local more = offered[job.task]
  if more then offered[job.task] = more > 1 and more - 1 or nil end
end

local function show_leases()
  if not leased[1] then return array(0) end
  local parts, head = {array(#leases)}, array(7)
  for index, blob in ipairs(fields_of(SPECS, leased)) do
    parts[3 * index - 1] = head
    parts[3 * index] = blob or error({err = 'CORRUPT job ' .. leased[index] .. ' has no spec'})
    parts[3 * index + 1] = leases[index]
  end
  return table.concat(parts)
end

-- Lease up to `n` jobs of these tasks for the call `caller.number`; return how many, and the leases as they are sent.
local function take_jobs(tasks, n, caller, number, worker, duration)
  leases, leased, prefix, holder, term = {}, {}, caller .. '.' .. number .. '.', worker, duration
  offer_heads()
  show_values()
  claim_jobs(tasks, n, lease)
  -- A claim with room left has taken all claimable jobs of its tasks. Jobs of other tasks are for other workers, which
  -- are notified.
  if #leases < n then
    for _, task in ipairs(tasks) do offered[task] = nil end
  end
  return #leases, show_leases()
end

-- Return the whole reply. All changes to timers must be known by now.
local function claimed_reply(shown, tasks)
  return array(4) .. shown .. pack(now, time_to_wait(tasks), queue.version)
end

-- ---- waiting workers ----

-- WAITERS has, by channel, the tasks that a waiting worker knows, and the claim that may be made ahead for it.
--
-- The call that makes a job claimable makes such a claim in the same step and sends the worker its reply: the worker
-- need not call. If that message is lost, the worker's own call gets the stored reply, as a repeated one. After a time
-- the claim may no longer be made ahead, since its worker may hang: it is then only notified.

local AHEAD_FOR = 1000000
-- A worker fetches a longer reply itself: the server disconnects subscribers with too much pending output.
local MAX_MESSAGE = 65536
local MAX_WAITERS = 64

-- The caller of this claim: the claim that it left before is no longer valid.
local claiming

at_begin(function() claiming = nil end)

-- Register a waiter at a channel. The claim `caller.number` may be made ahead for up to `most` jobs, if that is not 0.
local function wait_at(channel, knows, most, caller, number, worker, duration)
  local ends = now + math.min(AHEAD_FOR, math.floor(duration / 4))
  call('HSET', WAITERS, channel, pack(knows, most, ends, caller, number, worker, duration))
end

local function stop_waiting_at(channel)
  call('HDEL', WAITERS, channel)
end

-- Return the task for which this waiter may be notified: one that it knows with new claimable jobs, or '' for any.
local function reason_to_notify(knows)
  for task in pairs(offered) do
    local is_known = task == '' or knows == '' or string.find(knows, '\0' .. task .. '\0', 1, true)
    if is_known then return task end
  end
end

local function is_subscribed(channel)
  return call('PUBSUB', 'NUMSUB', channel)[2] > 0
end

-- Make the claim that a waiter has left; return the message with its reply, or nil if the waiter has to call itself.
local function claim_ahead(knows, most, ends, caller, number, worker, duration)
  if not most or most == 0 or ends < now or (queue.first and queue.first <= now) then return nil end
  if recall_claim(caller, number) then return nil end
  local tasks = {}
  for task in string.gmatch(knows, '%Z+') do tasks[#tasks + 1] = task end
  local count, shown = take_jobs(tasks, most, caller, number, worker, duration)
  if count == 0 then return nil end
  note_first_timer()
  local reply = keep_ahead(caller, number, claimed_reply(shown, tasks))
  if #reply > MAX_MESSAGE then return 'w' .. STATE end
  return 'c' .. STATE .. '\0' .. caller .. '\0' .. number .. '\0' .. reply
end

-- Notify one waiter per claimable job, any that knows its task. A waiter without a subscriber is gone: try another.
local function notify_waiters()
  local waiters = call('HRANDFIELD', WAITERS, MAX_WAITERS, 'WITHVALUES')
  for index = 1, #waiters, 2 do
    if next(offered) == nil then return end
    local channel, knows, most, ends, caller, number, worker, duration = waiters[index], unpack_all(waiters[index + 1])
    local task = caller ~= claiming and reason_to_notify(knows)
    if task then
      stop_waiting_at(channel)
      if is_subscribed(channel) then
        local message = claim_ahead(knows, most, ends, caller, number, worker, duration)
        call('PUBLISH', channel, message or 'w' .. STATE)
        -- take_jobs has counted the leased jobs already; if it leased none, none is left for other waiters.
        local left = offered[task]
        if left and (task == '' or not message) then offered[task] = left > 1 and left - 1 or nil end
      end
    end
  end
end

-- ---- the end of a change ----

-- End a call that changes the queue: offer heads, notify waiters or make their claims, and write all changes.

local function end_change()
  offer_heads()
  show_values()
  note_first_timer()
  if soonest and queue.first == soonest then note_opening() end
  if next(offered) ~= nil then
    queue.version = queue.version + 1
    notify_waiters()
  end
  write_kept()
  write_jobs()
  write_gates()
  write_queue()
  write_all()
end

-- ---- settling ----

local function must_keep(job, retain)
  return job.asked > 0 or retain > 0 or queue.awaited > 0
end

-- Return a job to its place; cancel one that is asked to cancel.
local function back(job, after, retain)
  if job.cancel then finish(job, CANCELLED, retain) else put_back(job, after) end
end

local function end_well(job, retain, result)
  if must_keep(job, retain) then job.result = result end
  drop_extra(job, 'has_error', ERRORS)
  job.reason = nil
  finish(job, SUCCEEDED, retain)
end

-- End a lease without success: 'f' fail, 'c' cancel, 'r' retry, 'l' release. `detail`: see the verb settle.
local function end_otherwise(job, kind, retain, detail, failure)
  if failure then keep_extra(job, 'has_error', ERRORS, failure) end
  if kind == 'f' then
    job.reason, job.halted = nil, detail and job.key ~= nil
    finish(job, FAILED, retain)
  elseif kind == 'c' then
    if not job.cancel then job.reason = detail end
    finish(job, CANCELLED, retain)
  elseif kind == 'r' then
    back(job, detail, retain)
  else
    job.attempt = job.attempt - 1
    back(job, detail, retain)
  end
end

-- Apply settlements, whose results and errors are the blobs; return the reply.
local function settle_all(settlements)
  local ids, states, blob_at = {}, {}, 1
  for index, settlement in ipairs(settlements) do ids[index] = settlement[1] end
  read_jobs(ids)
  for index, settlement in ipairs(settlements) do
    local _, token, kind, retain, detail = unpack(settlement, 1, 5)
    local job, blob = find_job(ids[index]), nil
    if kind == 's' or kind == 'f' or kind == 'r' then
      blob_at = blob_at + 1
      blob = BLOBS[blob_at]
    end
    if not job or job.token ~= token then
      states[index] = NONE
    else
      if kind == 's' then end_well(job, retain, blob) else end_otherwise(job, kind, retain, detail, blob) end
      states[index] = string.char(job.state)
    end
  end
  return array(#states) .. table.concat(states)
end
