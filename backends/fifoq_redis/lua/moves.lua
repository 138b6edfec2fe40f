-- The moves that every verb is made of: into the line, back to it, out of it.

-- Tell who waits for the end of a job, with its last record: it may be gone by the time they look.
local function tell_watchers(job)
  local watchers = book.watched > 0 and call('HGET', WATCHED, job.id)
  if not watchers then return end
  call('HDEL', WATCHED, job.id)
  book.watched = book.watched - 1
  local message = 'e' .. BOOK .. '\0' .. job.id .. '\0' .. show_job(job)
  for channel in string.gmatch(watchers, '%S+') do call('PUBLISH', channel, message) end
end

-- Let it be claimed if it may: something that held it back is gone.
local function come_forward(job)
  if job.key then
    face(job.key)
  elseif may_run(job) then
    offer(job)
  end
end

-- Let a waiting job stand at the end of the line.
local function arrive(job, seq)
  job.seq = seq
  if may_be_hidden(job) then place(WAITING, job.id, seq) end
  if job.key then place(LINES, standing(job), 0) end
  come_forward(job)
end

local function end_lease(job)
  job.token, job.lease = nil, nil
  drop_timer(job)
  free(job)
end

-- Let a running job wait again, at its place.
local function put_back(job, after)
  job.state = WAITS
  end_lease(job)
  if after > 0 then
    job.due, job.held = now + after, now
    set_timer(job)
  end
  if may_be_hidden(job) then place(WAITING, job.id, job.seq) end
  come_forward(job)
  touch(job)
end

-- Forget an ended job.
local function forget(job)
  drop_extra(job, 'has_error', ERRORS)
  drop_extra(job, 'has_progress', PROGRESS)
  fill(SPECS, job.id, false)
  remove(ENTRIES, job.id)
  count(job.state, -1)
  book.purged = book.purged + 1
  touch(job)
  jobs[job.id] = false
end

-- Give up the key and the unique text of an ended job, and count what it is kept for from now.
local function leave(job)
  if job.key and job.seq then
    remove(LINES, standing(job))
    face(job.key, true)
  end
  if job.unique then fill(UNIQUES, job.unique, false) end
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

-- The job is over. One that is kept for no time leaves at once; a halted one keeps its key.
local function finish(job, state, retain)
  local before = job.state
  job.state, job.finished, job.cancel = state, now, false
  if before == RUNNING then end_lease(job) else stop_waiting(job, before) end
  count_live(job.task, -1)
  count(state, 1)
  job.retain = math.max(job.asked, retain)
  touch(job)
  tell_watchers(job)
  if job.halted then face(job.key) else leave(job) end
end
