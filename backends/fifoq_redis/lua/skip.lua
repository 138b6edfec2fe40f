-- skip: let the keys of halted jobs go on without them.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 ids (msgpack)
-- gives as changing.lua says

return Changing.change_jobs(function(job)
  if not job.halted then return false end
  job.halted = false
  Jobs.touch(job)
  Moves.leave(job)
  return true
end)
