-- Changes are collected and written together: one command for a hundred jobs costs a fifth of a hundred commands.

local Change = {}

function Change.in_parts(command, key, values, count)
  for first = 1, count, PART do
    call(command, key, unpack(values, first, math.min(first + PART - 1, count)))
  end
end

-- A sorted set, and what is to change in it: member -> score, or false to remove it.
function Change.sorted(key)
  return {key = key, scores = {}, changed = false}
end

function Change.place(set, member, score)
  set.scores[member] = score
  set.changed = true
end

function Change.remove(set, member)
  set.scores[member] = false
  set.changed = true
end

-- Whoever reads the set writes it first.
function Change.write_sorted(set)
  if not set.changed then return end
  local adds, added, removes, removed = {}, 0, {}, 0
  for member, score in pairs(set.scores) do
    if score then
      adds[added + 1], adds[added + 2] = score, member
      added = added + 2
    else
      removed = removed + 1
      removes[removed] = member
    end
  end
  set.scores, set.changed = {}, false
  Change.in_parts('ZADD', set.key, adds, added)
  Change.in_parts('ZREM', set.key, removes, removed)
end

-- A hash, and what is to change in it: field -> value, or false to remove it.
function Change.hash(key)
  return {key = key, values = {}, changed = false}
end

function Change.put_field(fields, field, value)
  fields.values[field] = value
  fields.changed = true
end

-- The value of a field as it will be, false for none.
function Change.field(fields, name)
  local value = fields.values[name]
  if value == nil then
    value = call('HGET', fields.key, name)
  end
  return value
end

function Change.write_hash(fields)
  if not fields.changed then return end
  local sets, set, drops, dropped = {}, 0, {}, 0
  for name, value in pairs(fields.values) do
    if value then
      sets[set + 1], sets[set + 2] = name, value
      set = set + 2
    else
      dropped = dropped + 1
      drops[dropped] = name
    end
  end
  fields.values, fields.changed = {}, false
  Change.in_parts('HSET', fields.key, sets, set)
  Change.in_parts('HDEL', fields.key, drops, dropped)
end

function Change.read_fields(key, names)
  local values, count = {}, #names
  for first = 1, count, PART do
    local part = call('HMGET', key, unpack(names, first, math.min(first + PART - 1, count)))
    for index = 1, #part do values[first + index - 1] = part[index] end
  end
  return values
end

-- The first member of a set whose members begin with these words, each ended by a zero byte; nil for none.
function Change.first_of(set, prefix)
  Change.write_sorted(set)
  return call('ZRANGEBYLEX', set.key, '[' .. prefix .. '\0', '(' .. prefix .. '\1', 'LIMIT', 0, 1)[1]
end

-- The head of a msgpack array of so many values. They are put behind it as they are, opaque ones unread.
function Change.array(count)
  if count < 16 then return string.char(0x90 + count) end
  if count < 65536 then return struct.pack('>BI2', 0xdc, count) end
  return struct.pack('>BI4', 0xdd, count)
end
local NONE = '\192'

-- Whether `a` comes before `b`, by bytes. Lua's own comparison depends on the server's locale.
function Change.is_less(a, b)
  for index = 1, math.min(#a, #b) do
    local x, y = string.byte(a, index), string.byte(b, index)
    if x ~= y then return x < y end
  end
  return #a < #b
end
