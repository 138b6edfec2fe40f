-- settle: end leases, in order.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 settlements ({id, token, kind, retain, and for 'f' halt, for 'c'
--       the reason, for 'r' and 'l' after})
-- BLOBS 2… the results and errors of kinds 's', 'f' and 'r', in order
-- gives msgpack: by settlement the state of the job now, or nil if the lease was lost

verb('settle', 'allow-oom', nil, function()
  local reply = recall('settle', ARGV[2], ARGV[3])
  if reply then return reply end
  local states
  if begin(ARGV[1], false) then
    states = settle_all(ARGV[4])
    end_change()
  else
    local count = #ARGV[4]
    states = array(count) .. string.rep(NONE, count)
  end
  return keep_reply('settle', ARGV[2], ARGV[3], states)
end, {'settle', 2})
