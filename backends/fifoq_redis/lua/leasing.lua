-- What a claim takes and what it replies, whether its caller asks now or has left it to be made ahead.

-- What is shown of the jobs that were leased, and their ids; whose they are, and for how long.
local leases, leased, prefix, holder, term

local function lease(job)
  book.fence = book.fence + 1
  job.state, job.token, job.worker = RUNNING, prefix .. book.fence, holder
  job.started, job.lease, job.attempt = now, now + term, job.attempt + 1
  drop_extra(job, 'has_progress', PROGRESS)
  if job.expires then move_timer(job, job.lease) else add_timer(job, job.lease) end
  job.expires = nil
  if may_be_hidden(job) then take_back(WAITING, job.id) end
  touch(job)
  leases[#leases + 1] = pack(book.fence, job.entry, job.seq, job.attempt, job.crashes, job.created)
  leased[#leased + 1] = job.id
  local more = offered[job.task]
  if more then offered[job.task] = more > 1 and more - 1 or nil end
end

local function show_leases()
  if not leased[1] then return array(0) end
  local parts, head = {array(#leases)}, array(7)
  for index, blob in ipairs(fields_of(SPECS, leased)) do
    parts[3 * index - 1] = head
    parts[3 * index] = blob or error({err = 'CORRUPT nothing is kept of the call of job ' .. leased[index]})
    parts[3 * index + 1] = leases[index]
  end
  return table.concat(parts)
end

-- Lease up to `n` jobs of these tasks for the call `caller.number`; return how many, and what is shown of them.
local function take_jobs(tasks, n, caller, number, worker, duration)
  leases, leased, prefix, holder, term = {}, {}, caller .. '.' .. number .. '.', worker, duration
  face_all()
  show_values()
  claim_jobs(tasks, n, lease)
  -- Who had room for more has taken all that there was for it. What others may claim, others are told of.
  if #leases < n then
    for _, task in ipairs(tasks) do offered[task] = nil end
  end
  return #leases, show_leases()
end

-- The whole reply. What the change does to timers is known by now.
local function claimed_reply(shown, tasks)
  return array(4) .. shown .. pack(now, time_to_wait(tasks), book.version)
end
