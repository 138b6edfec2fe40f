-- audit: all there is, as of one instant; O(n).
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  none
-- gives by key, in their order, what HGETALL or ZRANGE WITHSCORES say of it

verb('audit', 'no-writes', nil, function()
  local all = {}
  for index, key in ipairs(KEYS) do
    local kind = call('TYPE', key).ok
    if kind == 'hash' then
      all[index] = call('HGETALL', key)
    elseif kind == 'zset' then
      all[index] = call('ZRANGE', key, 0, -1, 'WITHSCORES')
    else
      all[index] = {}
    end
  end
  return all
end)
