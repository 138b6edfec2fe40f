-- claim: end the leases of a settle that was called together with it, if any; lease up to n jobs, n times the best
-- claimable one of the known tasks.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 worker · 5 n · 6 lease · 7 tasks · 8 the channel of who asks, or ''
--       9 the tasks between zero bytes · 10 who is at the channel: 'wait' waits for more, 'again' too, and may be in
--       WAITERS, 'leave' does not wait, and may be in WAITERS · 11 for how many jobs, these counted, its next claim may
--       be made ahead · 12 13 14 what settle is told as its 2 3 4
-- BLOBS as settle's
-- gives msgpack: the leases (each the job as it was sent, fence, entry, seq, attempt, crashes, created), the time, the
--       time until a timer or a token, or nil, and the version of the queue. With a settle its reply and this one; or
--       nil and nothing done, if one of the two is a repeat: each has to come by itself then.

local SETTLE = 12

local function claim(tasks)
  local n, channel, stay = ARGV[5], ARGV[8], ARGV[10]
  asking = ARGV[2]
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
  if with_settle and (reply or recall('settle', ARGV[SETTLE], ARGV[SETTLE + 1]) or book.schema == 0) then
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
