-- What each caller was told last, per verb, so that a repeated call changes nothing.
--
-- A claim that was made ahead is kept beside the one before it, as 'ahead': nobody knows whether that one was heard of.

-- Every call would move its caller in CALLERS. So much later is soon enough: a reply is kept that much longer.
local LATE = 300000000
local kept, noted

at_begin(function() kept, noted = {}, {} end)

-- Where in the book the last reply of a verb to a caller is. No task's name begins like this.
local function reply_name(verb, caller)
  return '\0' .. verb .. ' ' .. caller
end

-- The reply to a repeated call, or nil to a new one. One that was overtaken is refused.
local function recall(verb, caller, number)
  local name = reply_name(verb, caller)
  if kept[name] == nil then kept[name] = call('HGET', BOOK, name) end
  if not kept[name] then return nil end
  local last, at, start = struct.unpack('>I8I8', kept[name])
  noted[name] = at
  if number == last then return string.sub(kept[name], start) end
  if number < last then return redis.error_reply('OVERTAKEN ' .. last) end
  return nil
end

-- The reply to a claim that was made before, by its caller or ahead.
local function recall_claim(caller, number)
  return recall('claim', caller, number) or recall('ahead', caller, number)
end

local function keep_reply(verb, caller, number, reply)
  local name = reply_name(verb, caller)
  if not noted[name] or now - noted[name] > LATE then
    noted[name] = now
    call('ZADD', CALLERS, now, name)
  end
  fill(BOOK, name, struct.pack('>I8I8', number, noted[name]) .. reply)
  return reply
end

-- Keep the reply to a claim made ahead. If the one before it was, too, its caller may not have heard of either.
local function keep_ahead(caller, number, reply)
  local before = recall('ahead', caller, number - 1)
  if before then keep_reply('claim', caller, number - 1, before) end
  return keep_reply('ahead', caller, number, reply)
end
