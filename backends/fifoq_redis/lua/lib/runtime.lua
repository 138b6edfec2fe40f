-- How a call begins. A server is given the library once and keeps its functions: a call makes none anew, and what it
-- finds here is left from the one before. So each piece says what of it is to be set at the beginning of each call.

local function look_up() return redis.call, cmsgpack.pack, cmsgpack.unpack, next, unpack, math, string, struct end

-- Looked up by the first call, for there is nothing to be found while the library is loaded, and kept: a global is
-- looked for in two tables each time.
local call, pack, unpack_all, next, unpack, math, string, struct
local KEYS, ARGV, BLOBS
local beginnings = {}

local function at_begin(set)
  beginnings[#beginnings + 1] = set
end

-- All that a call is told comes in one word, as msgpack values one behind the other: `ARGV`, from here on. `BLOBS` come
-- after it, each a word, and are kept unread: the first is at 2.
local function begin_call(keys, args)
  if not call then call, pack, unpack_all, next, unpack, math, string, struct = look_up() end
  KEYS, ARGV, BLOBS = keys, {unpack_all(args[1])}, args
  for index = 1, #beginnings do beginnings[index]() end
end

-- Whether `a` comes before `b`, by bytes. Lua's own comparison depends on the server's locale.
local function is_less(a, b)
  for index = 1, math.min(#a, #b) do
    local x, y = string.byte(a, index), string.byte(b, index)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- The keys of one queue, all of one slot, in the order in which every call is given them.
--
-- None is made up of what a job says: a task, a key or a value is part of a member or a field, so that each call can
-- declare all that it may touch.

local BOOK,     -- hash: COUNTERS -> those of the queue, packed; task ('' is the queue) -> its gate, packed;
                -- zero byte, verb, caller -> number of its last call, when CALLERS was told of it, and the reply
      JOBS,     -- hash: id -> what has become of the job, packed, and what it returned, as it was sent
      SPECS,    -- hash: id -> what its put said, as it was sent, and as it is shown
      ERRORS,   -- hash: id -> the error of its last attempt that went wrong
      PROGRESS, -- hash: id -> how far it says it is
      ENTRIES,  -- sorted set: id, by entry
      WAITING,  -- sorted set: id of each waiting job that READY may not show, by seq
      READY,    -- sorted set: task, score, id of what may be claimed as soon as its task and its queue let it
      OFFERS,   -- sorted set: task, value, score, id of each offered job that has a value
      VALUES,   -- hash: task, value -> how many run at that gate, and which offer is shown in READY
      LINES,    -- sorted set: key, seq, id of each live job that has a key
      TIMERS,   -- sorted set: entry, id, by when time changes the job next
      ENDS,     -- sorted set: entries and ids of ended jobs, packed, by when they may be purged (retention.lua)
      UNIQUES,  -- hash: unique text -> id of its scheduled or live job
      PAUSED,   -- hash: key -> since when it is paused
      BLOCKED,  -- sorted set: key, by since when it is blocked
      CALLERS,  -- sorted set: zero byte, verb, caller, by when it called, some minutes late
      WAITERS,  -- hash: channel -> the tasks that who waits there knows, and the claim to make ahead (waiting.lua)
      WATCHED   -- hash: id -> who waits for its end

local SCHEDULED, WAITS, RUNNING, SUCCEEDED, FAILED, CANCELLED = 0, 1, 2, 3, 4, 5
local NO_SETTINGS = {}
local MAX_TIMERS = 1000
local MAX_PAGE = 1000
local KEEP_REPLY = 3600000000
-- So many values are handed to one command: Lua's stack is not endless.
local PART = 2000

at_begin(function()
  BOOK, JOBS, SPECS, ERRORS, PROGRESS, ENTRIES, WAITING, READY, OFFERS, VALUES, LINES, TIMERS,
  ENDS, UNIQUES, PAUSED, BLOCKED, CALLERS, WAITERS, WATCHED
    = unpack(KEYS)
end)

-- Changes are collected and written together: one command for a hundred jobs costs a fifth of a hundred commands.

-- What is to be written, by key: by member its score, by field its value; false to drop it.
local placed, filled

at_begin(function() placed, filled = {}, {} end)

-- Let a member of a sorted set have that score.
local function place(key, member, score)
  local own = placed[key]
  if own then own[member] = score else placed[key] = {[member] = score} end
end

local function remove(key, member)
  return place(key, member, false)
end

-- As `remove`, of a member that was not there before if it is about to be placed: then there is nothing to do.
local function take_back(key, member)
  local own = placed[key]
  if not (own and own[member]) then return remove(key, member) end
  own[member] = nil
  if next(own) == nil then placed[key] = nil end
end

-- Let a field of a hash have that value; false to drop it.
local function fill(key, field, value)
  local own = filled[key]
  if own then own[field] = value else filled[key] = {[field] = value} end
end

local write_places, write_fields, write_all
do
  local function in_parts(command, key, values, count)
    if count == 0 then return end
    if count <= PART then return call(command, key, unpack(values)) end
    for first = 1, count, PART do
      call(command, key, unpack(values, first, math.min(first + PART - 1, count)))
    end
  end

  -- A single change needs no lists: 5 to 10 % of a call of one job.
  local function write_one(key, command, name, value)
    if not value then return call(command, key, name) end
    if command == 'ZADD' then name, value = value, name end
    return call(command, key, name, value)
  end

  -- A score as the server would write it: it takes 1 us for each, and those of one call are mostly the same.
  local last_score, last_text

  local function text_of(score)
    if score ~= last_score then last_score, last_text = score, string.format('%d', score) end
    return last_text
  end

  -- Write what is collected of a key. A sorted set is told scores before members, a hash fields before values.
  local function write_changes(changes, key, add, drop)
    local own = changes[key]
    if not own then return end
    changes[key] = nil
    local only, its_value = next(own)
    if next(own, only) == nil then return write_one(key, its_value and add or drop, only, its_value) end
    local adds, added, drops, dropped, is_scored = {}, 0, {}, 0, changes == placed
    for name, value in next, own do
      if not value then
        dropped = dropped + 1
        drops[dropped] = name
      else
        adds[added + 1] = is_scored and text_of(value) or name
        added = added + 2
        adds[added] = is_scored and name or value
      end
    end
    in_parts(add, key, adds, added)
    in_parts(drop, key, drops, dropped)
  end

  -- Whoever reads a sorted set writes it first.
  function write_places(key)
    return write_changes(placed, key, 'ZADD', 'ZREM')
  end

  function write_fields(key)
    return write_changes(filled, key, 'HSET', 'HDEL')
  end

  -- All but the book: the reply that is kept there may not be known yet.
  function write_all()
    for key in pairs(placed) do write_places(key) end
    for key in pairs(filled) do
      if key ~= BOOK then write_fields(key) end
    end
  end
end

-- The value of a field of a hash as it will be, false for none.
local function field_of(key, name)
  local value = filled[key] and filled[key][name]
  if value == nil then return call('HGET', key, name) end
  return value
end

local function read_fields(key, names)
  local count = #names
  if count <= PART then return call('HMGET', key, unpack(names)) end
  local values = {}
  for first = 1, count, PART do
    local part = call('HMGET', key, unpack(names, first, math.min(first + PART - 1, count)))
    for index = 1, #part do values[first + index - 1] = part[index] end
  end
  return values
end

local function any_changes(own, names)
  for _, name in ipairs(names) do
    if own[name] ~= nil then return true end
  end
end

-- Values of a hash as they will be.
local function fields_of(key, names)
  local own = filled[key]
  if not own or not any_changes(own, names) then return read_fields(key, names) end
  local values = {}
  for index, name in ipairs(names) do values[index] = field_of(key, name) end
  return values
end

local first_of
do
  local FEW = 4

  local function is_few(own)
    local name
    for _ = 0, FEW do
      name = next(own, name)
      if name == nil then return true end
    end
  end

  local function put_in_order(members, member)
    local at = #members + 1
    while at > 1 and is_less(member, members[at - 1]) do at = at - 1 end
    table.insert(members, at, member)
  end

  local function range_of(key, beginning, last, count)
    return call('ZRANGEBYLEX', key, '[' .. beginning, '(' .. last, 'LIMIT', 0, count)
  end

  -- The first members, so many, of a sorted set whose members begin with these words, each ended by a zero byte, as
  -- they will be. Few changes are not written for that: a job that is leased as it comes is never in READY.
  function first_of(key, prefix, count)
    local own, beginning, last = placed[key], prefix .. '\0', prefix .. '\1'
    if not (own and is_few(own)) then
      write_places(key)
      return range_of(key, beginning, last, count)
    end
    local members = {}
    for _, member in ipairs(range_of(key, beginning, last, count + FEW)) do
      if own[member] == nil then members[#members + 1] = member end
    end
    for member, score in pairs(own) do
      if score and string.sub(member, 1, #beginning) == beginning then put_in_order(members, member) end
    end
    for index = #members, count + 1, -1 do members[index] = nil end
    return members
  end
end

local SMALL_ARRAYS = {
  [0] = '\144', '\145', '\146', '\147', '\148', '\149', '\150', '\151', '\152', '\153', '\154', '\155', '\156', '\157',
  '\158', '\159',
}

-- The head of a msgpack array of so many values. They are put behind it as they are, opaque ones unread.
local function array(count)
  if count < 16 then return SMALL_ARRAYS[count] end
  if count < 65536 then return struct.pack('>BI2', 0xdc, count) end
  return struct.pack('>BI4', 0xdd, count)
end
local NONE = '\192'
