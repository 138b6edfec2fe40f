-- What each caller was told last, per verb, so that a repeated call changes nothing.
--
-- Of claims the last two are kept, the even and the odd one: the newer may have been made ahead, and nobody knows whether
-- its caller has heard of the one before.
local CLAIMS = {[0] = 'even claim', 'odd claim'}

-- Every call would move its caller in CALLERS. So much later is soon enough: a reply is kept that much longer.
local LATE = 300000000
local kept, noted

at_begin(function() kept, noted = {}, {} end)

-- Read at once what will be recalled: verbs and callers in turn.
local function read_replies(...)
  local names = {}
  for index = 1, select('#', ...), 2 do
    names[#names + 1] = select(index, ...) .. ' ' .. select(index + 1, ...)
  end
  for index, reply in ipairs(call('HMGET', REPLIES, unpack(names))) do kept[names[index]] = reply end
end

-- The reply to a repeated call, or nil to a new one. One that was overtaken is refused.
local function recall(verb, caller, number)
  local name = verb .. ' ' .. caller
  if kept[name] == nil then kept[name] = call('HGET', REPLIES, name) end
  if not kept[name] then return nil end
  local last, at, start = struct.unpack('>I8I8', kept[name])
  number, noted[name] = tonumber(number), at
  if number == last then return string.sub(kept[name], start) end
  if number < last then return redis.error_reply('OVERTAKEN ' .. last) end
  return nil
end

-- The reply to a claim that was made before, by its caller or ahead.
local function recall_claim(caller, number)
  local own = number % 2
  return recall(CLAIMS[own], caller, number) or recall(CLAIMS[1 - own], caller, number)
end

local function keep_reply(verb, caller, number, reply)
  local name = verb .. ' ' .. caller
  if not noted[name] or now - noted[name] > LATE then
    noted[name] = now
    call('ZADD', CALLERS, now, name)
  end
  fill(REPLIES, name, struct.pack('>I8I8', number, noted[name]) .. reply)
  return reply
end

local function keep_claim(caller, number, reply)
  return keep_reply(CLAIMS[number % 2], caller, number, reply)
end
