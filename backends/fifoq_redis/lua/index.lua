-- The index: every order in which jobs are looked for, kind by kind in one sorted set. A call of one job spends most of
-- its time in its commands, so what it changes in five orders is written by two.

local disturbed

at_begin(function() disturbed = {} end)

local function list(kind, where)
  disturbed[kind] = true
  change(placed, INDEX, kind .. where, 0)
end

local function unlist(kind, where)
  disturbed[kind] = true
  change(placed, INDEX, kind .. where, false)
end

-- The first members, so many, from `low` on and before `high`.
local function listed(kind, low, high, count)
  if disturbed[kind] then
    write_places(INDEX)
    disturbed = {}
  end
  return call('ZRANGEBYLEX', INDEX, '[' .. kind .. low, '(' .. high, 'LIMIT', 0, count)
end

-- The first members, so many, that begin with these words, each ended by a zero byte.
local function first_of(kind, words, count)
  return listed(kind, words .. '\0', kind .. words .. '\1', count)
end
