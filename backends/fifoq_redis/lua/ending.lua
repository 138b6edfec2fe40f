-- How every change ends: all that was collected is written, and who waits for something to claim is told.

local function stop_listening(channel)
  if call('ZREM', IDLE, channel) > 0 then call('HDEL', KNOWS, channel) end
end

-- One waiter per job, the first that knows its task. One whom nobody hears for is gone: the next is called.
local function call_waiters()
  local channels = call('ZRANGE', IDLE, 0, 63)
  if #channels == 0 then return end
  -- For which task's sake this waiter may be called: one of its own that has jobs for it, or '' if anybody will do.
  local function reason_to_call(knows)
    for task, jobs_left in pairs(offered) do
      local is_known = task == '' or knows == '' or string.find(knows, '\0' .. task .. '\0', 1, true)
      if jobs_left > 0 and is_known then return task end
    end
  end
  for index, knows in ipairs(call('HMGET', KNOWS, unpack(channels))) do
    local task = reason_to_call(knows or '')
    if task then
      stop_listening(channels[index])
      if call('PUBLISH', channels[index], 'w' .. BOOK) > 0 then offered[task] = offered[task] - 1 end
    end
  end
end

local function end_change()
  face_all()
  show_values()
  write_jobs()
  write_gates()
  note_first_timer()
  if soonest and book.first == soonest then stir() end
  local news = next(offered) ~= nil
  if news then book.version = book.version + 1 end
  write_book()
  write_all()
  if news then call_waiters() end
end
