-- cancel: end what waits; ask for it if it runs.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 ids · 3 reason
-- gives as changing.lua says

verb('cancel', 'allow-oom', nil, function()
  return change_jobs(function(job)
    if job.state >= SUCCEEDED or job.cancel then return false end
    job.reason = ARGV[3]
    if job.state == RUNNING then
      job.cancel = true
      touch(job)
    else
      finish(job, CANCELLED, 0)
    end
    return true
  end)
end)
