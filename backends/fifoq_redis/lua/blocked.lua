-- blocked: a page of the blocked keys, those first that were blocked first.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 since when the last key shown is blocked, or '' · 2 that key · 3 how many at most
-- gives msgpack: {key, id of its head or nil, reason, since}, …; and whether there is more

-- How many stand up to (since, key), whether or not that is still among them: a search among those of equal `since`.
local function rank_behind(since, key)
  local first, last = call('ZCOUNT', BLOCKED, '-inf', '(' .. since), call('ZCOUNT', BLOCKED, '-inf', since)
  local marked = call('ZRANK', BLOCKED, key)
  if marked and call('ZSCORE', BLOCKED, key) == since then return marked + 1 end
  -- It has left: those behind it are found by bytes, as the set is sorted.
  while first < last do
    local middle = math.floor((first + last) / 2)
    if is_less(key, call('ZRANGE', BLOCKED, middle, middle)[1]) then last = middle else first = middle + 1 end
  end
  return first
end

verb('blocked', 'no-writes', nil, function()
  local start = ARGV[1] == '' and 0 or rank_behind(ARGV[1], ARGV[2])
  local keys, shown = call('ZRANGE', BLOCKED, start, start + ARGV[3]), {}
  for index = 1, math.min(#keys, ARGV[3]) do
    local key = keys[index]
    local id = head_of(key)
    local head = id and get_job(id)
    local reason, since = why_blocked(key, head)
    shown[index] = array(4) .. pack(key, head and head.id, reason, since)
  end
  return array(2) .. array(#shown) .. table.concat(shown) .. pack(#keys > ARGV[3])
end)
