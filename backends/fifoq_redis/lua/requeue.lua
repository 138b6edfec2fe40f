-- requeue: put failed jobs back: halted ones at their place, any other at the end of the line.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 ids
-- gives as changing.lua says

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
    if job.unique then fill(UNIQUES, job.unique, job.id) end
    requeued(job)
    forget_tries(job)
    count(FAILED, -1)
    count_live(job.task, 1)
    touch(job)
    if halted then
      place(WAITING, job.id, job.seq)
      come_forward(job)
    else
      arrive(job, next_number())
    end
    return true
  end)
end)
