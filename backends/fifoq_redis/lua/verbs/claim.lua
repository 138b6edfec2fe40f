-- The verbs of workers: claim, settle, extend; listen and pass_on, for waiting.

do -- claim
-- claim: end the leases of a settle that was called together with it, if any; lease up to n jobs, n times the best
-- claimable one of the known tasks.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 worker · 5 n · 6 lease · 7 tasks · 8 the worker's channel, or ''
--       9 the tasks between zero bytes · 10 'wait': register the worker as a waiter if it got fewer than n; 'again': as
--       'wait', it may be in WAITERS; 'leave': it does not wait, and may be in WAITERS · 11 for how many jobs, these
--       counted, its next claim may be made ahead · 12 13 14 ARGV 2 3 4 of settle
-- BLOBS as settle's
-- gives msgpack: the leases (each the job's spec as it was sent, fence, entry, seq, attempt, crashes, created), the time, the
--       time until a timer or a token, or nil, and the version of the queue. With a settle its reply and this one; or
--       nil and nothing done, if one of the two is a repeat: each has to be called by itself then.

local SETTLE = 12

local function claim(tasks)
  local n, channel, stay = ARGV[5], ARGV[8], ARGV[10]
  claiming = ARGV[2]
  fire()
  local count, shown = take_jobs(tasks, n, ARGV[2], ARGV[3], ARGV[4], ARGV[6])
  end_change()
  if channel ~= '' and stay ~= 'leave' and count < n then
    wait_at(channel, ARGV[9], math.max(0, ARGV[11] - count), ARGV[2], ARGV[3] + 1, ARGV[4], ARGV[6])
  elseif channel ~= '' and stay ~= 'wait' then
    stop_waiting_at(channel)
  end
  return claimed_reply(shown, tasks)
end

verb('claim', 'allow-oom', 7, function(tasks)
  local with_settle = ARGV[SETTLE] ~= nil
  local reply = recall_claim(ARGV[2], ARGV[3])
  if with_settle and (reply or recall('settle', ARGV[SETTLE], ARGV[SETTLE + 1]) or queue.schema == 0) then
    return NONE
  end
  if reply then return reply end
  if not begin(ARGV[1], false) then
    return keep_reply('claim', ARGV[2], ARGV[3], array(4) .. array(0) .. pack(0, nil, 0))
  end
  local settled = with_settle and settle_all(ARGV[SETTLE + 2])
  local claimed = keep_reply('claim', ARGV[2], ARGV[3], claim(tasks))
  if not with_settle then return claimed end
  return array(2) .. keep_reply('settle', ARGV[SETTLE], ARGV[SETTLE + 1], settled) .. claimed
end, {'claim', 2, 'ahead', 2, 'settle', SETTLE})
end

do -- settle
-- settle: end leases, in order.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 settlements ({id, token, kind, retain, and for 'f' halt, for 'c'
--       the reason, for 'r' and 'l' after})
-- BLOBS 2… the results and errors of kinds 's', 'f' and 'r', in order
-- gives msgpack: by settlement the state of the job now, or nil if the lease was lost

verb('settle', 'allow-oom', nil, function()
  local reply = recall('settle', ARGV[2], ARGV[3])
  if reply then return reply end
  local states
  if begin(ARGV[1], false) then
    states = settle_all(ARGV[4])
    end_change()
  else
    local count = #ARGV[4]
    states = array(count) .. string.rep(NONE, count)
  end
  return keep_reply('settle', ARGV[2], ARGV[3], states)
end, {'settle', 2})
end

do -- extend
-- extend: hold leases for longer, and store progress.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 extensions ({id, token, lease, has progress})
-- BLOBS 2… the progress of those
-- gives one character for each: h (held), c (cancel requested), l (lost)

local next_blob

local function extend(extension)
  local id, token, lease, has_progress = unpack(extension)
  local blob, job = nil, find_job(id)
  if has_progress then blob, next_blob = BLOBS[next_blob], next_blob + 1 end
  if not job or job.token ~= token then return 'l' end
  job.lease = now + lease
  move_timer(job, job.lease)
  if blob then keep_extra(job, 'has_progress', PROGRESS, blob) end
  touch(job)
  return job.cancel and 'c' or 'h'
end

verb('extend', 'allow-oom', nil, function()
  next_blob = 2
  local extensions, ids, holds = ARGV[2], {}, {}
  for index, extension in ipairs(extensions) do ids[index] = extension[1] end
  if not begin(ARGV[1], false) then return string.rep('l', #extensions) end
  read_jobs(ids)
  for index, extension in ipairs(extensions) do holds[index] = extend(extension) end
  end_change()
  return table.concat(holds)
end)
end

do -- listen
-- listen: register a waiter for the next claimable job, unless the queue has changed already.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 the waiter's channel · 3 the version that it has seen · 4 the tasks that it knows,
--       each between zero bytes, or '' for all · 5 for how many jobs its next claim may be made ahead · and of that
--       claim 6 the caller · 7 the number · 8 the worker · 9 the lease
-- gives the version of the queue: the waiter is registered if it has seen this one; -1: that claim has been made

verb('listen', 'allow-oom', nil, function()
  read_time(ARGV[1])
  local most = ARGV[5]
  if most > 0 and recall_claim(ARGV[6], ARGV[7]) then return -1 end
  if queue.version == ARGV[3] then wait_at(ARGV[2], ARGV[4], most, unpack(ARGV, 6, 9)) end
  return queue.version
end)
end

do -- pass_on
-- pass_on: notify another waiter of a claimable job. The backend that was notified has no waiter any more.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or ''
-- gives nothing

verb('pass_on', 'allow-oom', nil, function()
  if begin(ARGV[1], false) then
    note_opening()
    end_change()
  end
end)
end
