-- Listen, pass_on and watch: waiting for claimable jobs, and for the ends of jobs, by notification.

-- ---- listen ----
--
-- Register a waiter for the next claimable job, unless the queue has changed already.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 the waiter's channel · 3 the version of the queue that it has seen · 4 the tasks that
--          it knows, each between zero bytes, or '' for all · 5 for how many jobs its next claim may be made ahead;
--          of that claim: 6 caller · 7 number · 8 worker · 9 lease
-- returns  the version of the queue: the waiter is registered if it has seen that one; -1: that claim has been made
do

verb('listen', 'allow-oom', nil, function()
  set_now(ARGV[1])
  local most = ARGV[5]
  if most > 0 and recall_claim(ARGV[6], ARGV[7]) then return -1 end
  if state.version == ARGV[3] then register_waiter(ARGV[2], ARGV[4], most, unpack(ARGV, 6, 9)) end
  return state.version
end)
end

-- ---- pass_on ----
--
-- Notify another waiter that a job may be claimable: the one that was notified did not wait any more.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or ''
-- returns  nothing
do

verb('pass_on', 'allow-oom', nil, function()
  if begin_change(ARGV[1], false) then
    notify_any()
    end_change()
  end
end)
end

-- ---- watch ----
--
-- Read the records of jobs that have ended, and have a channel notified of the ends of the others.
--
-- KEYS     all of the queue
-- ARGV     1 ids · 2 the channel
-- returns  msgpack: by id its record as one text if it has ended or is damaged, false if not, nil if it does not exist
do

local function add_channel(id)
  local channels = call('HGET', AWAITED, id) or ''
  if not string.find(' ' .. channels .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
    state.awaited = state.awaited + call('HSET', AWAITED, id, channels .. ' ' .. ARGV[2])
  end
  return pack(false)
end

verb('watch', 'allow-oom', nil, function()
  local ids, replies, before = ARGV[1], {}, state.awaited
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = get_job(id)
    local is_known = job and (job.state >= SUCCEEDED or job.damaged or not spec_of(id))
    replies[index] = not job and NIL or is_known and pack(record_of(job)) or add_channel(id)
  end
  if state.awaited > before then
    write_state()
    write_changes()
  end
  return array_head(#replies) .. table.concat(replies)
end)
end
