-- Leases: the choice of jobs for a claim, the leases it makes, and how settlements end them.

-- ---- a lease ----

-- The claim that is being made: its jobs and their ids, the part that its tokens share, its worker, and the duration of
-- its leases.
local leased_jobs, leased_ids, token_prefix, lease_worker, lease_duration

local function lease(job)
  state.fence = state.fence + 1
  job.state, job.token, job.worker = RUNNING, token_prefix .. state.fence, lease_worker
  job.started_at, job.lease_end, job.attempt = now, now + lease_duration, job.attempt + 1
  drop_extra(job, 'has_progress', PROGRESS)
  if job.expires_at then move_timer(job, job.lease_end) else add_timer(job, job.lease_end) end
  job.expires_at = nil
  if may_be_hidden(job) then unset_score(HIDDEN, job.id) end
  touch(job)
  leased_jobs[#leased_jobs + 1] = job
  leased_ids[#leased_ids + 1] = job.id
  local count = to_notify[job.task]
  if count then to_notify[job.task] = count > 1 and count - 1 or nil end
end

-- ---- the choice of jobs ----
--
-- A claim takes n times the best claimable job of its tasks. A candidate is a task whose gate is open, with the first
-- members of READY for it: {gate, members, score of the first member, page}, `page` being the size of its next read.

local claim_jobs, next_timer
do
  -- Let a job through the gate of its value, and show the value's next job; return that job's score, or false.
  local function admit(job, member)
    local gate = value_gate(job.task, job.value)
    gate.running = gate.running + 1
    gate.shown = false
    remove_member(OFFERS, job.task .. '\0' .. job.value .. '\0' .. string.sub(member, #job.task + 2))
    local shown = show_value(gate)
    return shown and unpack_score(shown, 1)
  end

  -- Return the candidate of a task; nil if its gate is shut or nothing is behind it. `page`: how many members to read
  -- at most, nil for as many as the gate lets through.
  local function candidate_of(task, n, page)
    local gate = gate_of(task)
    local most = room(gate, n)
    if most == 0 then return nil end
    local members = first_members(READY, task, math.min(most, page or most))
    return members[1] and {gate = gate, members = members, score = unpack_score(members[1], #task + 2), page = page}
  end

  -- Return the job that a member of READY names; nil if it does not wait, and the member is of a damaged job's past.
  local function offered_job(id, task, member)
    local job = get_job(id)
    if not job then return nil end
    if job.damaged or job.task ~= task then
      local score = unpack_score(member, #task + 2)
      job.damaged, job.task = true, task
      job.priority, job.seq = 9 - math.floor(score / LEVEL), score % LEVEL
    end
    return job.state == WAITING and job or nil
  end

  -- Lease up to `most` jobs of a candidate while their scores are below `bound`; return how many.
  local function lease_run(candidate, most, bound)
    local task, members, ids, taken = candidate.gate.task, candidate.members, {}, 0
    for index, member in ipairs(members) do ids[index] = string.sub(member, #task + 9) end
    read_jobs(ids)
    for index, id in ipairs(ids) do
      if taken == most or unpack_score(members[index], #task + 2) >= bound then break end
      local job = offered_job(id, task, members[index])
      remove_member(READY, members[index])
      if job then
        lease(job)
        taken = taken + 1
      end
      if job and job.value then
        bound = math.min(bound, admit(job, members[index]) or bound)
        -- The value's next job was not among the members: read no more at once than can be used.
        candidate.page = math.max(4, 2 * taken)
      end
    end
    take(candidate.gate, taken)
    take(gate_of(''), taken)
    return taken
  end

  -- Return the candidate with the smallest score, and the smallest score of all others.
  local function best_of(candidates)
    local best, bound = nil, math.huge
    for _, candidate in pairs(candidates) do
      if not best or candidate.score < best.score then
        best, bound = candidate, best and best.score or math.huge
      elseif candidate.score < bound then
        bound = candidate.score
      end
    end
    return best, bound
  end

  -- Lease up to `n` jobs. Each of many tasks gives few of them: read its first job, then twice as many each time.
  function claim_jobs(tasks, n)
    local left, candidates = room(gate_of(''), n), {}
    if left == 0 then return end
    for _, task in ipairs(tasks) do candidates[task] = candidate_of(task, left, #tasks > 1 and 1 or nil) end
    while left > 0 do
      local best, bound = best_of(candidates)
      if not best then return end
      left = left - lease_run(best, left, bound)
      local task, page = best.gate.task, best.page and 2 * best.page
      candidates[task] = left > 0 and candidate_of(task, left, page) or nil
    end
  end

  -- Return the time until a timer or a token may make a job of these tasks claimable; nil if none will. Early at times,
  -- never late.
  function next_timer(tasks)
    local at = state.first_timer
    for index = 0, #tasks do
      local opens = opens_at(gate_of(tasks[index] or ''))
      if opens and (not at or opens < at) then at = opens end
    end
    return at and math.max(0, at - now) or nil
  end
end

-- ---- a claim ----

local show_leases
do
  local LEASE_HEAD = array_head(10)

  -- Return the fields with which a spec begins, as msgpack.
  local function identity_of(job)
    return pack(job.id, job.task, job.key, job.value)
  end

  -- Note that a leased job contradicts its spec. Of the two keys and values those count by which it is in a line and in
  -- OFFERS: so the job leaves these.
  local function correct(job)
    job.damaged = true
    local task, key, value = spec_of(job.id)
    if not task then return end
    remove_member(HIDDEN, job.id)
    if job.key ~= key and key and place_in_line(job.id, key) then job.key = key end
    local offer = value and job.task .. '\0' .. value .. '\0' .. score_of(job) .. job.id
    if job.value == value or not offer or not call('ZSCORE', OFFERS, offer) then return end
    if job.value then
      local wrong = value_gate(job.task, job.value)
      wrong.running = wrong.running - 1
    end
    job.value = value
    local gate = value_gate(job.task, value)
    gate.running, gate.shown = gate.running + 1, false
    remove_member(OFFERS, offer)
    show_value(gate)
  end

  -- Return the leases as msgpack, and the specs of their jobs. Specs are not decoded, and a damaged one would make all
  -- behind it unreadable: so they are the end of a reply.
  function show_leases()
    local count = #leased_jobs
    if count == 0 then return array_head(0), array_head(0) end
    local heads, specs, first_fence = {array_head(count)}, {array_head(count)}, state.fence - count
    for index, spec in ipairs(fields_of(SPECS, leased_ids)) do
      local job = leased_jobs[index]
      local identity = identity_of(job)
      if job.damaged or not spec or string.sub(spec, 2, #identity + 1) ~= identity then
        correct(job)
        identity = identity_of(job)
      end
      heads[3 * index - 1], heads[3 * index] = LEASE_HEAD, identity
      heads[3 * index + 1] = pack(first_fence + index, job.entry, job.seq, job.attempt, job.crashes,
                                  not job.damaged and job.created_at)
      specs[index + 1] = spec or NIL
    end
    return table.concat(heads), table.concat(specs)
  end
end

-- Lease up to `n` jobs of these tasks for the claim `caller.number`, which its caller makes now or has left to be made
-- ahead; return how many, and as msgpack the leases and the specs.
local function take_jobs(tasks, n, caller, number, worker, duration)
  leased_jobs, leased_ids, token_prefix = {}, {}, caller .. '.' .. number .. '.'
  lease_worker, lease_duration = worker, duration
  offer_heads()
  show_values()
  claim_jobs(tasks, n)
  -- With room left, the claim has taken every claimable job of its tasks: none is left to notify a waiter of.
  local count = #leased_jobs
  if count < n then
    for _, task in ipairs(tasks) do to_notify[task] = nil end
  end
  return count, show_leases()
end

-- Return the reply to a claim. It contains the time until the next timer, so it is made after update_first_timer.
local function claimed_reply(tasks, leases_shown, specs_shown)
  return array_head(5) .. leases_shown .. pack(now, next_timer(tasks), state.version) .. specs_shown
end

-- ---- settlements ----

-- Return whether the result of a job is needed after its end: it is kept, or a backend is notified of it.
local function keeps_result(job, retain)
  return job.spec_retain > 0 or retain > 0 or state.awaited > 0
end

-- Return a job to its place; cancel one that is asked to cancel.
local function put_back_or_cancel(job, after, retain)
  if job.cancel_requested then end_job(job, CANCELLED, retain) else put_back(job, after) end
end

local function succeed(job, retain, result)
  if keeps_result(job, retain) then job.result = result end
  drop_extra(job, 'has_error', ERRORS)
  job.reason = nil
  end_job(job, SUCCEEDED, retain)
end

-- Settle a job by any other kind: 'f' fail, 'c' cancel, 'r' retry, 'l' release. `detail`: the fifth value of the
-- settlement, as the verb settle has it.
local function settle_otherwise(job, kind, retain, detail, failure)
  if failure then set_extra(job, 'has_error', ERRORS, failure) end
  if kind == 'f' then
    job.reason, job.halted = nil, detail and job.key ~= nil
    end_job(job, FAILED, retain)
  elseif kind == 'c' then
    if not job.cancel_requested then job.reason = detail end
    end_job(job, CANCELLED, retain)
  elseif kind == 'r' then
    put_back_or_cancel(job, detail, retain)
  else
    job.attempt = job.attempt - 1
    put_back_or_cancel(job, detail, retain)
  end
end

-- Apply settlements in order, with the results and errors in BLOBS; return the reply of the verb settle.
local function settle_jobs(settlements)
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
      states[index] = NIL
    else
      if kind == 's' then succeed(job, retain, blob) else settle_otherwise(job, kind, retain, detail, blob) end
      states[index] = string.char(job.state)
    end
  end
  return array_head(#states) .. table.concat(states)
end
