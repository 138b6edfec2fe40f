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
