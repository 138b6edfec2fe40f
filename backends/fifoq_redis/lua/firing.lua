-- What time alone does to jobs: put and claim begin with it.

local Firing = {}

function Firing.fall_due(job)
  job.due = nil
  Jobs.set_timer(job)
  Jobs.touch(job)
  if job.state == SCHEDULED then
    Moves.count(SCHEDULED, -1)
    job.state = WAITS
    Moves.arrive(job, Book.next_number())
  else
    Moves.come_forward(job)
  end
end

function Firing.lose_lease(job)
  job.crashes = job.crashes + 1
  if job.cancel then Moves.finish(job, CANCELLED, 0) else Moves.put_back(job, 0) end
end

function Firing.fire_one(job)
  if job.state == RUNNING then
    Firing.lose_lease(job)
  elseif job.expires and job.expires <= now then
    job.reason = 'expired'
    Moves.finish(job, CANCELLED, 0)
  else
    Firing.fall_due(job)
  end
end

-- Fire the timers that are due, by (time, entry), at most MAX_TIMERS.
function Firing.fire()
  local due = call('ZRANGEBYSCORE', TIMERS, '-inf', now, 'LIMIT', 0, MAX_TIMERS)
  if #due == 0 then return end
  local ids = {}
  for index, member in ipairs(due) do ids[index] = string.sub(member, 7) end
  Jobs.read(ids)
  for index, id in ipairs(ids) do
    Change.remove(timers, due[index])
    Firing.fire_one(Jobs.get(id))
  end
end
