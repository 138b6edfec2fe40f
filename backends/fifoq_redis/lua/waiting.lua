-- Who waits for something to claim: by channel which tasks it knows, and the claim that may be made for it ahead.
--
-- So the put that brings a job, or whatever makes one claimable, leases it in the same step to who has asked for that,
-- and tells it what it got: it need not ask. What is told may be lost: the call is answered when it comes, as each
-- repeated one is. After a time it may not be made any more, for its caller may hang, and then is only told to ask.

local AHEAD_FOR = 1000000
-- A longer reply is fetched: a subscriber who is sent too much at once is cut off.
local MOST_TOLD = 65536
local LOOKED_AT = 64

-- Whose own claim this call is: what it left before is over.
local asking

at_begin(function() asking = nil end)

-- Note who waits at a channel. The claim `caller.number` may be made ahead for up to `most` jobs, if that is not 0.
local function wait_at(channel, knows, most, caller, number, worker, duration)
  local ends = now + math.min(AHEAD_FOR, math.floor(duration / 4))
  call('HSET', WAITERS, channel, pack(knows, most, ends, caller, number, worker, duration))
end

local function stop_waiting_at(channel)
  call('HDEL', WAITERS, channel)
end

-- For which task's sake this waiter may be told: one of its own that has jobs for it, or '' if anybody will do.
local function reason_to_tell(knows)
  for task in pairs(offered) do
    local is_known = task == '' or knows == '' or string.find(knows, '\0' .. task .. '\0', 1, true)
    if is_known then return task end
  end
end

local function is_heard(channel)
  return call('PUBSUB', 'NUMSUB', channel)[2] > 0
end

-- Make the claim that a waiter has left here; return what to tell it, or nil if it has to ask by itself.
local function claim_ahead(knows, most, ends, caller, number, worker, duration)
  if not most or most == 0 or ends < now or (book.first and book.first <= now) then return nil end
  if recall_claim(caller, number) then return nil end
  local tasks = {}
  for task in string.gmatch(knows, '%Z+') do tasks[#tasks + 1] = task end
  local count, shown = take_jobs(tasks, most, caller, number, worker, duration)
  if count == 0 then return nil end
  note_first_timer()
  local reply = keep_ahead(caller, number, claimed_reply(shown, tasks))
  if #reply > MOST_TOLD then return 'w' .. BOOK end
  return 'c' .. BOOK .. '\0' .. caller .. '\0' .. number .. '\0' .. reply
end

-- One waiter per job, any that knows its task. One whom nobody hears for is gone: another one is told.
local function tell_waiters()
  local waiters = call('HRANDFIELD', WAITERS, LOOKED_AT, 'WITHVALUES')
  for index = 1, #waiters, 2 do
    if next(offered) == nil then return end
    local channel, knows, most, ends, caller, number, worker, duration = waiters[index], unpack_all(waiters[index + 1])
    local task = caller ~= asking and reason_to_tell(knows)
    if task then
      stop_waiting_at(channel)
      if is_heard(channel) then
        local news = claim_ahead(knows, most, ends, caller, number, worker, duration)
        call('PUBLISH', channel, news or 'w' .. BOOK)
        -- Jobs that were leased are counted already, and where none could be, none is left for others.
        local left = offered[task]
        if left and (task == '' or not news) then offered[task] = left > 1 and left - 1 or nil end
      end
    end
  end
end
