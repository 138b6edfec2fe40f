-- The moves that every verb is made of: into the line, back to it, out of it.

local Moves = {}

local any_watched

-- Tell who waits for the end of a job, with its last record: it may be gone by the time they look.
function Moves.tell_watchers(job)
  if any_watched == nil then any_watched = call('EXISTS', WATCHED) > 0 end
  local watchers = any_watched and call('HGET', WATCHED, job.id)
  if not watchers then return end
  call('HDEL', WATCHED, job.id)
  local message = 'e' .. BOOK .. '\0' .. job.id .. '\0' .. Jobs.show(job)
  for channel in string.gmatch(watchers, '%S+') do call('PUBLISH', channel, message) end
end

-- Let a waiting job stand at the end of the line.
function Moves.arrive(job, seq)
  job.seq = seq
  Change.place(waiting, job.id, seq)
  if job.key then
    Change.place(lines, Lines.stand(job), 0)
    Lines.face(job.key)
  elseif Lines.may_run(job) then
    Ready.offer(job)
  end
end

-- Let it be claimed if it may: something that held it back is gone.
function Moves.come_forward(job)
  if job.key then
    Lines.face(job.key)
  elseif Lines.may_run(job) then
    Ready.offer(job)
  end
end

function Moves.end_lease(job)
  job.token, job.lease = nil, nil
  Change.remove(timers, Jobs.slip(job))
  Ready.free(job)
end

-- Let a running job wait again, at its place.
function Moves.put_back(job, after)
  job.state = WAITS
  Moves.end_lease(job)
  if after > 0 then
    job.due, job.held = now + after, now
    Jobs.set_timer(job)
  end
  Change.place(waiting, job.id, job.seq)
  Moves.come_forward(job)
  Jobs.touch(job)
end

function Moves.count(state, change)
  local name = COUNTERS[state]
  book[name] = book[name] + change
end

-- Forget an ended job.
function Moves.forget(job)
  Jobs.drop_extra(job, 'has_result', results)
  Jobs.drop_extra(job, 'has_error', errors)
  Jobs.drop_extra(job, 'has_progress', progress)
  Change.put_field(specs, job.id, false)
  Change.remove(entries, job.id)
  Moves.count(job.state, -1)
  book.purged = book.purged + 1
  Jobs.touch(job)
  jobs[job.id] = false
end

-- Give up the key and the unique text of an ended job, and count what it is kept for from now.
function Moves.leave(job)
  if job.key and job.seq then
    Change.remove(lines, Lines.stand(job))
    Lines.face(job.key, true)
  end
  if job.unique then Change.put_field(uniques, job.unique, false) end
  if job.retain > 0 then
    job.kept = now + job.retain
    Change.place(ends, Jobs.slip(job), job.kept)
  else
    Moves.forget(job)
  end
end

function Moves.stop_waiting(job, before)
  if before == SCHEDULED then
    Moves.count(SCHEDULED, -1)
  else
    Ready.withdraw(job)
    Change.remove(waiting, job.id)
  end
  job.due, job.expires = nil, nil
  Change.remove(timers, Jobs.slip(job))
end

-- The job is over. One that is kept for no time leaves at once; a halted one keeps its key.
function Moves.finish(job, state, retain)
  local before = job.state
  job.state, job.finished, job.cancel = state, now, false
  if before == RUNNING then Moves.end_lease(job) else Moves.stop_waiting(job, before) end
  Gates.count_live(job.task, -1)
  Moves.count(state, 1)
  job.retain = math.max(job.asked, retain)
  Jobs.touch(job)
  Moves.tell_watchers(job)
  if job.halted then Lines.face(job.key) else Moves.leave(job) end
end
