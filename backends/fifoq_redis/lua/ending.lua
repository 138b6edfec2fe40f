-- How every change ends: all that was collected is written, and who waits for something to claim is told.

local Ending = {}

-- For which task's sake this waiter may be called: one of its own that has jobs for it, or '' if anybody will do.
function Ending.reason_to_call(knows)
  for task, count in pairs(offered) do
    if count > 0 and (task == '' or knows == '' or string.find(knows, '\0' .. task .. '\0', 1, true)) then
      return task
    end
  end
end

function Ending.stop_listening(channel)
  call('ZREM', IDLE, channel)
  call('HDEL', KNOWS, channel)
end

-- One waiter per job, the first that knows its task. One whom nobody hears for is gone: the next is called.
function Ending.call_waiters()
  local channels = call('ZRANGE', IDLE, 0, 63)
  if #channels == 0 then return end
  for index, knows in ipairs(call('HMGET', KNOWS, unpack(channels))) do
    local task = Ending.reason_to_call(knows or '')
    if task then
      Ending.stop_listening(channels[index])
      if call('PUBLISH', channels[index], 'w' .. BOOK) > 0 then offered[task] = offered[task] - 1 end
    end
  end
end

function Ending.finish()
  Lines.face_all()
  Ready.write()
  Lines.write()
  Jobs.write()
  Gates.write()
  if soonest and Jobs.next_timer() == soonest then Ready.stir() end
  if next(offered) then
    book.version = book.version + 1
    Ending.call_waiters()
  end
  Book.write()
end
