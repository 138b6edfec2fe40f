-- What each caller was told last, per verb, so that a repeated call changes nothing.

-- Every call would move its caller in CALLERS. So much later is soon enough: a reply is kept that much longer.
local LATE = 300000000
local noted

at_begin(function() noted = {} end)

-- The reply to a repeated call, or nil to a new one. One that was overtaken is refused.
local function recall(verb, caller, number)
  local kept = call('HGET', REPLIES, verb .. ' ' .. caller)
  if not kept then return nil end
  local last, at, start = struct.unpack('>I8I8', kept)
  number, noted[verb] = tonumber(number), at
  if number == last then return string.sub(kept, start) end
  if number < last then return redis.error_reply('OVERTAKEN ' .. last) end
  return nil
end

local function keep_reply(verb, caller, number, reply)
  local name = verb .. ' ' .. caller
  if not noted[verb] or now - noted[verb] > LATE then
    noted[verb] = now
    call('ZADD', CALLERS, now, name)
  end
  fill(REPLIES, name, struct.pack('>I8I8', number, noted[verb]) .. reply)
  return reply
end
