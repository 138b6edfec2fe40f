-- requeue: put failed jobs back: halted ones at their place, any other at the end of the line.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 ids (msgpack)
-- gives as changing.lua says

local function forget_tries(job)
  job.state, job.halted, job.kept, job.attempt, job.crashes = WAITS, false, nil, 0, 0
  job.worker, job.started, job.finished = nil, nil, nil
  Jobs.drop_extra(job, 'has_error', errors)
  Jobs.drop_extra(job, 'has_progress', progress)
end

return Changing.change_jobs(function(job)
  if job.state ~= FAILED then return false end
  local halted, holder = job.halted, job.unique and Change.field(uniques, job.unique)
  if not halted and holder then return false, holder end
  if job.unique then Change.put_field(uniques, job.unique, job.id) end
  forget_tries(job)
  Moves.count(FAILED, -1)
  Gates.count_live(job.task, 1)
  Change.remove(ends, Jobs.slip(job))
  Jobs.touch(job)
  if halted then
    Change.place(waiting, job.id, job.seq)
    Moves.come_forward(job)
  else
    Moves.arrive(job, Book.next_number())
  end
  return true
end)
