-- skip: let the keys of halted jobs go on without them.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 ids
-- gives as changing.lua says

verb('skip', 'allow-oom', nil, function()
  return change_jobs(function(job)
    if not job.halted then return false end
    job.halted = false
    touch(job)
    leave(job)
    return true
  end)
end)
