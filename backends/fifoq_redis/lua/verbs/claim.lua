-- Claim, extend and settle: leases made, extended and ended.

-- ---- claim ----
--
-- End the leases of a settle that was called together with this claim, if any; then lease up to n jobs, n times the
-- best claimable one of the known tasks.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 caller · 3 number · 4 worker · 5 n · 6 lease · 7 tasks · 8 the channel of the waiter,
--          or '' · 9 the tasks between zero bytes · 10 'wait': it waits for more if fewer than n are leased; 'again':
--          the same, and it may be in WAITERS; 'leave': it does not wait, and may be in WAITERS · 11 for how many jobs,
--          those of this claim included, the next claim may be made ahead · 12 13 14 with a settle, its 2 3 4
-- BLOBS    those of the settle
-- returns  msgpack: the leases (each id, task, key, value, fence, entry, seq, attempt, crashes, created, the last false
--          if the job is damaged), the time, the time until a timer or a token, or nil, the version of the queue, and of
--          each lease the job as it was sent, or nil if that is missing. With a settle, its reply and this one; or nil
--          if one of the two is a repeat: then nothing was done, and each has to be called by itself.
do

local SETTLE = 12

local function claim(tasks)
  local n, channel, stay = ARGV[5], ARGV[8], ARGV[10]
  claiming_caller = ARGV[2]
  fire_timers()
  local count, leases_shown, specs_shown = take_jobs(tasks, n, ARGV[2], ARGV[3], ARGV[4], ARGV[6])
  end_change()
  if channel ~= '' and stay ~= 'leave' and count < n then
    register_waiter(channel, ARGV[9], math.max(0, ARGV[11] - count), ARGV[2], ARGV[3] + 1, ARGV[4], ARGV[6])
  elseif channel ~= '' and stay ~= 'wait' then
    unregister_waiter(channel)
  end
  return claimed_reply(tasks, leases_shown, specs_shown)
end

verb('claim', 'allow-oom', 7, function(tasks)
  local with_settle = ARGV[SETTLE] ~= nil
  local repeated = recall_claim(ARGV[2], ARGV[3])
  if with_settle and (repeated or recall('settle', ARGV[SETTLE], ARGV[SETTLE + 1]) or state.schema == 0) then
    return NIL
  end
  if repeated then return repeated end
  if not begin_change(ARGV[1], false) then
    return keep_reply('claim', ARGV[2], ARGV[3], array_head(5) .. array_head(0) .. pack(0, nil, 0) .. array_head(0))
  end
  local settled = with_settle and settle_jobs(ARGV[SETTLE + 2])
  local claimed = keep_reply('claim', ARGV[2], ARGV[3], claim(tasks))
  if not with_settle then return claimed end
  return array_head(2) .. keep_reply('settle', ARGV[SETTLE], ARGV[SETTLE + 1], settled) .. claimed
end, {'claim', 2, 'ahead', 2, 'settle', SETTLE})
end

-- ---- extend ----
--
-- Extend leases, and store progress.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 extensions ({id, token, lease, has progress})
-- BLOBS    2… the progress of those that have it
-- returns  a character for each: h (held), c (cancel requested), l (lost)
do

local next_blob

local function extend(extension)
  local id, token, lease, has_progress = unpack(extension)
  local blob, job = nil, find_job(id)
  if has_progress then blob, next_blob = BLOBS[next_blob], next_blob + 1 end
  if not job or job.token ~= token then return 'l' end
  job.lease_end = now + lease
  move_timer(job, job.lease_end)
  if blob then set_extra(job, 'has_progress', PROGRESS, blob) end
  touch(job)
  return job.cancel_requested and 'c' or 'h'
end

verb('extend', 'allow-oom', nil, function()
  next_blob = 2
  local extensions, ids, holds = ARGV[2], {}, {}
  for index, extension in ipairs(extensions) do ids[index] = extension[1] end
  if not begin_change(ARGV[1], false) then return string.rep('l', #extensions) end
  read_jobs(ids)
  for index, extension in ipairs(extensions) do holds[index] = extend(extension) end
  end_change()
  return table.concat(holds)
end)
end

-- ---- settle ----
--
-- End leases, in order.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 caller · 3 number · 4 settlements ({id, token, kind, retain, and for 'f' halt, for
--          'c' the reason, for 'r' and 'l' after})
-- BLOBS    2… the results and errors of kinds 's', 'f' and 'r', in order
-- returns  msgpack: by settlement the state of the job now, or nil if the lease was lost
do

verb('settle', 'allow-oom', nil, function()
  local repeated = recall('settle', ARGV[2], ARGV[3])
  if repeated then return repeated end
  local states
  if begin_change(ARGV[1], false) then
    states = settle_jobs(ARGV[4])
    end_change()
  else
    local count = #ARGV[4]
    states = array_head(count) .. string.rep(NIL, count)
  end
  return keep_reply('settle', ARGV[2], ARGV[3], states)
end, {'settle', 2})
end
