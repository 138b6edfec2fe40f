-- How a claim chooses: n times the best claimable job of the tasks that it knows. `lease` is what is done with each.

-- The whole library is one chunk, which has 200 locals at most: what only this piece needs is its own.
local score_in, claim_jobs, time_to_wait
do
  function score_in(member, start)
    return (struct.unpack('>I7', member, start))
  end

  -- The value's gate lets this job through, and shows its next one; returns the score of that.
  local function admit(job, member)
    local value = value_of(job.task, job.value)
    value.running = value.running + 1
    value.shown = false
    remove(OFFERS, job.task .. '\0' .. job.value .. '\0' .. string.sub(member, #job.task + 2))
    local shown = show_value(value)
    return shown and score_in(shown, 1)
  end

  -- A task's gate that is open, those that stand first behind it, and the score of the first; nil if nobody may pass.
  local function door(task, n, step)
    local gate = gate_of(task)
    local most = room(gate, n)
    if most == 0 then return nil end
    local members = first_of(READY, task, math.min(most, step or most))
    return members[1] and {gate = gate, members = members, score = score_in(members[1], #task + 2), step = step}
  end

  -- Lease up to `most` jobs behind a door while their scores are below `bound`; return how many.
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
        -- What comes next is known only now: read no more at once than can be used.
        one.step = math.max(4, 2 * taken)
      end
    end
    pass(one.gate, taken)
    pass(gate_of(''), taken)
    return taken
  end

  -- The door with the smallest score, and the smallest score of all others.
  local function best_of(doors)
    local best, bound = nil, math.huge
    for _, one in pairs(doors) do
      if not best or one.score < best.score then
        best, bound = one, best and best.score or math.huge
      elseif one.score < bound then
        bound = one.score
      end
    end
    return best, bound
  end

  -- One of many tasks gives few of them: each is asked for its first, and then for more and more.
  function claim_jobs(tasks, n, lease)
    local left, doors = room(gate_of(''), n), {}
    if left == 0 then return end
    for _, task in ipairs(tasks) do doors[task] = door(task, left, #tasks > 1 and 1 or nil) end
    while left > 0 do
      local best, bound = best_of(doors)
      if not best then return end
      left = left - lease_run(best, left, bound, lease)
      doors[best.gate.task] = left > 0 and door(best.gate.task, left, best.step and 2 * best.step) or nil
    end
  end

  -- Until a timer fires or a gate gets a token; early rather than exact, never late.
  function time_to_wait(tasks)
    local at = book.first
    for index = 0, #tasks do
      local opens = opens_at(gate_of(tasks[index] or ''))
      if opens and (not at or opens < at) then at = opens end
    end
    return at and math.max(0, at - now) or nil
  end
end

-- What a claim takes and what it replies, whether its caller asks now or has left it to be made ahead.

-- What is shown of the jobs that were leased, and their ids; whose they are, and for how long.
local leases, leased, prefix, holder, term

local function lease(job)
  book.fence = book.fence + 1
  job.state, job.token, job.worker = RUNNING, prefix .. book.fence, holder
  job.started, job.lease, job.attempt = now, now + term, job.attempt + 1
  drop_extra(job, 'has_progress', PROGRESS)
  if job.expires then move_timer(job, job.lease) else add_timer(job, job.lease) end
  job.expires = nil
  if may_be_hidden(job) then take_back(WAITING, job.id) end
  touch(job)
  leases[#leases + 1] = pack(book.fence, job.entry, job.seq, job.attempt, job.crashes, job.created)
  leased[#leased + 1] = job.id
  local more = offered[job.task]
  if more then offered[job.task] = more > 1 and more - 1 or nil end
end

local function show_leases()
  if not leased[1] then return array(0) end
  local parts, head = {array(#leases)}, array(7)
  for index, blob in ipairs(fields_of(SPECS, leased)) do
    parts[3 * index - 1] = head
    parts[3 * index] = blob or error({err = 'CORRUPT nothing is kept of the call of job ' .. leased[index]})
    parts[3 * index + 1] = leases[index]
  end
  return table.concat(parts)
end

-- Lease up to `n` jobs of these tasks for the call `caller.number`; return how many, and what is shown of them.
local function take_jobs(tasks, n, caller, number, worker, duration)
  leases, leased, prefix, holder, term = {}, {}, caller .. '.' .. number .. '.', worker, duration
  face_all()
  show_values()
  claim_jobs(tasks, n, lease)
  -- Who had room for more has taken all that there was for it. What others may claim, others are told of.
  if #leases < n then
    for _, task in ipairs(tasks) do offered[task] = nil end
  end
  return #leases, show_leases()
end

-- The whole reply. What the change does to timers is known by now.
local function claimed_reply(shown, tasks)
  return array(4) .. shown .. pack(now, time_to_wait(tasks), book.version)
end

-- Who waits for something to claim: by channel which tasks it knows, and the claim that may be made for it ahead.
--
-- So the put that brings a job, or whatever makes one claimable, leases it in the same step to who has asked for that,
-- and tells it what it got: it need not ask. What is told may be lost: the call is answered when it comes, as each
-- repeated one is. After a time it may not be made any more, for its caller may hang, and then is only told to ask.

local AHEAD_FOR = 1000000
-- A longer reply is fetched: a subscriber who is sent too much at once is cut off.
local MOST_TOLD = 65536
local LOOKED_AT = 64

-- Whose own claim this call is: what it left before is over.
local asking

at_begin(function() asking = nil end)

-- Note who waits at a channel. The claim `caller.number` may be made ahead for up to `most` jobs, if that is not 0.
local function wait_at(channel, knows, most, caller, number, worker, duration)
  local ends = now + math.min(AHEAD_FOR, math.floor(duration / 4))
  call('HSET', WAITERS, channel, pack(knows, most, ends, caller, number, worker, duration))
end

local function stop_waiting_at(channel)
  call('HDEL', WAITERS, channel)
end

-- For which task's sake this waiter may be told: one of its own that has jobs for it, or '' if anybody will do.
local function reason_to_tell(knows)
  for task in pairs(offered) do
    local is_known = task == '' or knows == '' or string.find(knows, '\0' .. task .. '\0', 1, true)
    if is_known then return task end
  end
end

local function is_heard(channel)
  return call('PUBSUB', 'NUMSUB', channel)[2] > 0
end

-- Make the claim that a waiter has left here; return what to tell it, or nil if it has to ask by itself.
local function claim_ahead(knows, most, ends, caller, number, worker, duration)
  if not most or most == 0 or ends < now or (book.first and book.first <= now) then return nil end
  if recall_claim(caller, number) then return nil end
  local tasks = {}
  for task in string.gmatch(knows, '%Z+') do tasks[#tasks + 1] = task end
  local count, shown = take_jobs(tasks, most, caller, number, worker, duration)
  if count == 0 then return nil end
  note_first_timer()
  local reply = keep_ahead(caller, number, claimed_reply(shown, tasks))
  if #reply > MOST_TOLD then return 'w' .. BOOK end
  return 'c' .. BOOK .. '\0' .. caller .. '\0' .. number .. '\0' .. reply
end

-- One waiter per job, any that knows its task. One whom nobody hears for is gone: another one is told.
local function tell_waiters()
  local waiters = call('HRANDFIELD', WAITERS, LOOKED_AT, 'WITHVALUES')
  for index = 1, #waiters, 2 do
    if next(offered) == nil then return end
    local channel, knows, most, ends, caller, number, worker, duration = waiters[index], unpack_all(waiters[index + 1])
    local task = caller ~= asking and reason_to_tell(knows)
    if task then
      stop_waiting_at(channel)
      if is_heard(channel) then
        local news = claim_ahead(knows, most, ends, caller, number, worker, duration)
        call('PUBLISH', channel, news or 'w' .. BOOK)
        -- Jobs that were leased are counted already, and where none could be, none is left for others.
        local left = offered[task]
        if left and (task == '' or not news) then offered[task] = left > 1 and left - 1 or nil end
      end
    end
  end
end

-- How every change ends: who waits for something to claim is told or given it, and all that was collected is written.

local function end_change()
  face_all()
  show_values()
  note_first_timer()
  if soonest and book.first == soonest then stir() end
  if next(offered) ~= nil then
    book.version = book.version + 1
    tell_waiters()
  end
  write_kept()
  write_jobs()
  write_gates()
  write_book()
  write_all()
end

-- How leases end, in order.

local function must_keep(job, retain)
  return job.asked > 0 or retain > 0 or book.watched > 0
end

-- To its place, or, if it was asked to cancel, to its end.
local function back(job, after, retain)
  if job.cancel then finish(job, CANCELLED, retain) else put_back(job, after) end
end

local function end_well(job, retain, result)
  if must_keep(job, retain) then job.result = result end
  drop_extra(job, 'has_error', ERRORS)
  job.reason = nil
  finish(job, SUCCEEDED, retain)
end

-- By kind, what else may become of a job. `detail` is what settle.lua says.
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
