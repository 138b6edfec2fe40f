-- claim: end the leases of a settle that was called together with it, if any; lease up to n jobs, n times the best
-- claimable one of the known tasks.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 worker · 5 n · 6 lease · 7 tasks (msgpack) · 8 the channel of who
--       waits for more, or '' · 9 the tasks between zero bytes · 10 '1' if the channel may be in IDLE · 11… what
--       settle is given, from its 2 on
-- gives msgpack: the leases (each the job as it was sent, fence, entry, seq, attempt, crashes, created), the time, the
--       time until a timer or a token, or nil, and the version of the queue. With a settle its reply and this one; or
--       nil and nothing done, if one of the two is a repeat: each has to come by itself then.

-- What is shown of the jobs that were leased, and their ids.
local leases, leased, prefix, term

local function lease(job)
  book.fence = book.fence + 1
  job.state, job.token, job.worker = RUNNING, prefix .. book.fence, ARGV[4]
  job.started, job.lease, job.attempt = now, now + term, job.attempt + 1
  drop_extra(job, 'has_progress', PROGRESS)
  if job.expires then move_timer(job, job.lease) else add_timer(job, job.lease) end
  job.expires = nil
  remove(WAITING, job.id)
  touch(job)
  leases[#leases + 1] = pack(book.fence, job.entry, job.seq, job.attempt, job.crashes, job.created)
  leased[#leased + 1] = job.id
end

local function show_leases()
  if not leased[1] then return array(0) end
  local parts, head = {array(#leases)}, array(7)
  for index, blob in ipairs(read_fields(SPECS, leased)) do
    parts[3 * index - 1] = head
    parts[3 * index] = blob or error({err = 'CORRUPT nothing is kept of the call of job ' .. leased[index]})
    parts[3 * index + 1] = leases[index]
  end
  return table.concat(parts)
end

-- Who got all that it asked for has no room for more. What others may claim, others are told of.
local function wait_for_more(tasks, n)
  if #leases < n then
    for _, task in ipairs(tasks) do offered[task] = nil end
  end
  end_change()
  if ARGV[8] == '' then return end
  if #leases < n then
    call('ZADD', IDLE, now, ARGV[8])
    call('HSET', KNOWS, ARGV[8], ARGV[9])
  elseif ARGV[10] == '1' then
    stop_listening(ARGV[8])
  end
end

local function claim(tasks, n)
  leases, leased, prefix, term = {}, {}, ARGV[2] .. '.' .. ARGV[3] .. '.', tonumber(ARGV[6])
  fire()
  face_all()
  show_values()
  claim_jobs(tasks, n, lease)
  wait_for_more(tasks, n)
  return array(4) .. show_leases() .. pack(now, time_to_wait(tasks), book.version)
end

verb('claim', 'allow-oom', 7, function(tasks)
  local with_settle = ARGV[11] ~= nil
  local reply = recall('claim', ARGV[2], ARGV[3])
  if with_settle and (reply or recall('settle', ARGV[11], ARGV[12]) or book.schema == 0) then return NONE end
  if reply then return reply end
  if not begin(ARGV[1], false) then
    return keep_reply('claim', ARGV[2], ARGV[3], array(4) .. array(0) .. pack(0, nil, 0))
  end
  local settled = with_settle and settle_all(13)
  local claimed = keep_reply('claim', ARGV[2], ARGV[3], claim(tasks, tonumber(ARGV[5])))
  if not with_settle then return claimed end
  return array(2) .. keep_reply('settle', ARGV[11], ARGV[12], settled) .. claimed
end)
