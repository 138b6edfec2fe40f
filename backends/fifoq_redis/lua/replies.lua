-- What each caller was told last, per verb, so that a repeated call changes nothing.

local Replies = {}

-- Every call would move its caller in CALLERS. So much later is soon enough: a reply is kept that much longer.
local LATE = 300000000
local noted

function Replies.told(verb, caller)
  return verb .. ' ' .. caller
end

-- The reply to a repeated call, or nil to a new one. One that was overtaken is refused.
function Replies.recall(verb, caller, number)
  local kept = call('HGET', REPLIES, Replies.told(verb, caller))
  if not kept then return nil end
  local _, ends, last, at = string.find(kept, '^(%d+) (%d+) ')
  last, number, noted = tonumber(last), tonumber(number), tonumber(at)
  if number == last then return string.sub(kept, ends + 1) end
  if number < last then return redis.error_reply('OVERTAKEN ' .. last) end
  return nil
end

function Replies.keep_reply(verb, caller, number, reply)
  local name = Replies.told(verb, caller)
  if not noted or now - noted > LATE then
    noted = now
    call('ZADD', CALLERS, now, name)
  end
  call('HSET', REPLIES, name, number .. string.format(' %.0f ', noted) .. reply)
  return reply
end

function Replies.forget_replies(limit)
  local old = call('ZRANGEBYSCORE', CALLERS, '-inf', now - KEEP_REPLY - LATE, 'LIMIT', 0, limit)
  if #old > 0 then
    call('HDEL', REPLIES, unpack(old))
    call('ZREM', CALLERS, unpack(old))
  end
end
