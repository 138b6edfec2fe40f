-- What time alone does to jobs: put and claim begin with it.

local function fall_due(job)
  job.due = nil
  set_timer(job)
  touch(job)
  if job.state == SCHEDULED then
    count(SCHEDULED, -1)
    job.state = WAITS
    arrive(job, next_number())
  else
    if not may_be_hidden(job) then remove(WAITING, job.id) end
    come_forward(job)
  end
end

local function fire_one(job)
  if job.state == RUNNING then
    job.crashes = job.crashes + 1
    if job.cancel then finish(job, CANCELLED, 0) else put_back(job, 0) end
  elseif job.expires and job.expires <= now then
    job.reason = 'expired'
    finish(job, CANCELLED, 0)
  else
    fall_due(job)
  end
end

-- Fire the timers that are due, by (time, entry), at most MAX_TIMERS.
local function fire()
  if not book.first or book.first > now then return end
  local due = call('ZRANGEBYSCORE', TIMERS, '-inf', now, 'LIMIT', 0, MAX_TIMERS)
  local ids = {}
  for index, slip in ipairs(due) do ids[index] = string.sub(slip, 7) end
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = get_job(id)
    drop_timer(job)
    fire_one(job)
  end
end
