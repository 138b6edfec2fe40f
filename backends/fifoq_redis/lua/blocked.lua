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
    if Change.is_less(key, call('ZRANGE', BLOCKED, middle, middle)[1]) then last = middle else first = middle + 1 end
  end
  return first
end

local start = ARGV[1] == '' and 0 or rank_behind(ARGV[1], ARGV[2])
local keys, shown = call('ZRANGE', BLOCKED, start, start + ARGV[3]), {}
for index = 1, math.min(#keys, tonumber(ARGV[3])) do
  local key = keys[index]
  local first = Change.first_of(lines, key)
  local head = first and Jobs.get(string.sub(first, #key + 8)) or nil
  local reason, since = Lines.why_blocked(key, head)
  shown[index] = Change.array(4) .. pack(key, head and head.id, reason, since)
end
return Change.array(2) .. Change.array(#shown) .. table.concat(shown) .. pack(#keys > tonumber(ARGV[3]))
