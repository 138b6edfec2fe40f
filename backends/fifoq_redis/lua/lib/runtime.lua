-- The runtime of the library: how a call begins, the keys of a queue, and buffered writes.
--
-- A server loads the library once and keeps its functions and their local variables from call to call. So each part
-- registers, by `at_begin`, the variables to be reset when a call begins.

-- ---- a call ----

local function look_up() return redis.call, cmsgpack.pack, cmsgpack.unpack, next, unpack, math, string, struct end

-- Looked up by the first call and kept: globals do not exist while the library is loaded, and the lookup of a global
-- reads two tables.
local call, pack, unpack_all, next, unpack, math, string, struct
local KEYS, ARGV, BLOBS
local beginnings = {}

local function at_begin(set)
  beginnings[#beginnings + 1] = set
end

-- The values of a call come in one word, as msgpack values one behind the other: `ARGV`, from here on. `BLOBS` follow,
-- a word each, and are stored unread: the first is at 2.
local function begin_call(keys, args)
  if not call then call, pack, unpack_all, next, unpack, math, string, struct = look_up() end
  KEYS, ARGV, BLOBS = keys, {unpack_all(args[1])}, args
  for index = 1, #beginnings do beginnings[index]() end
end

-- Return whether `a` comes before `b`, by bytes. Lua's own comparison depends on the server's locale.
local function is_less(a, b)
  for index = 1, math.min(#a, #b) do
    local x, y = string.byte(a, index), string.byte(b, index)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- ---- the keys of a queue ----

-- All keys are of one slot, in the order in which every call passes them. None is made from a job's data: a task, a key
-- or a value is part of a member or a field, so that each call can declare all keys that it may use.

local STATE,     -- hash: COUNTERS -> those of the queue, packed; task ('' is the queue) -> its gate, packed;
                -- zero byte, verb, caller -> number of its last call, its score in CALLERS, and the reply
      JOBS,     -- hash: id -> the job's record, packed, and its result, as it was sent
      SPECS,    -- hash: id -> the job's spec, as it was sent by its put
      ERRORS,   -- hash: id -> the error of the last attempt that failed
      PROGRESS, -- hash: id -> the job's progress
      ENTRIES,  -- sorted set: id, by entry
      WAITING,  -- sorted set: id of each waiting job that READY may not show, by seq
      READY,    -- sorted set: task, score, id of each job that may be claimed if the gates of task and queue are open
      OFFERS,   -- sorted set: task, value, score, id of each offered job that has a value
      VALUES,   -- hash: task, value -> the running jobs of that gate, and its offer that is in READY
      LINES,    -- sorted set: key, seq, id of each live job that has a key
      TIMERS,   -- sorted set: entry, id, by the time of the job's next timer
      ENDS,     -- sorted set: entries and ids of ended jobs, packed, by when they may be purged
      UNIQUES,  -- hash: unique text -> id of its scheduled or live job
      PAUSED,   -- hash: key -> since when it is paused
      BLOCKED,  -- sorted set: key, by since when it is blocked
      CALLERS,  -- sorted set: zero byte, verb, caller, by the time of a recent call
      WAITERS,  -- hash: channel -> the tasks that the waiting worker knows, and the claim to make ahead
      AWAITED   -- hash: id -> the channels of the waiters for its end

local SCHEDULED, WAITS, RUNNING, SUCCEEDED, FAILED, CANCELLED = 0, 1, 2, 3, 4, 5
local NO_SETTINGS = {}
local MAX_TIMERS = 1000
local MAX_PAGE = 1000
local KEEP_REPLY = 3600000000
-- Values passed to one command at most: Lua's stack is limited.
local PART = 2000

at_begin(function()
  STATE, JOBS, SPECS, ERRORS, PROGRESS, ENTRIES, WAITING, READY, OFFERS, VALUES, LINES, TIMERS,
  ENDS, UNIQUES, PAUSED, BLOCKED, CALLERS, WAITERS, AWAITED
    = unpack(KEYS)
end)

-- ---- buffered writes ----

-- Changes are collected and written together: one command for a hundred jobs costs a fifth of a hundred commands.

-- The changes by key: scores by member, values by field; false removes.
local changed_scores, changed_fields

at_begin(function() changed_scores, changed_fields = {}, {} end)

-- Set the score of a member of a sorted set.
local function set_score(key, member, score)
  local own = changed_scores[key]
  if own then own[member] = score else changed_scores[key] = {[member] = score} end
end

local function remove(key, member)
  return set_score(key, member, false)
end

-- Remove a member. If its score was only set in this call, it was not stored before: drop that change.
local function unset_score(key, member)
  local own = changed_scores[key]
  if not (own and own[member]) then return remove(key, member) end
  own[member] = nil
  if next(own) == nil then changed_scores[key] = nil end
end

-- Set the value of a field of a hash; false removes it.
local function set_field(key, field, value)
  local own = changed_fields[key]
  if own then own[field] = value else changed_fields[key] = {[field] = value} end
end

local write_scores, write_fields, write_all
do
  local function in_parts(command, key, values, count)
    if count == 0 then return end
    if count <= PART then return call(command, key, unpack(values)) end
    for first = 1, count, PART do
      call(command, key, unpack(values, first, math.min(first + PART - 1, count)))
    end
  end

  -- Write a single change, without lists: it saves 5 to 10 % of a call of one job.
  local function write_one(key, command, name, value)
    if not value then return call(command, key, name) end
    if command == 'ZADD' then name, value = value, name end
    return call(command, key, name, value)
  end

  -- The text of the last score: making one takes 1 us, and the scores of one call are mostly the same.
  local last_score, last_text

  local function text_of(score)
    if score ~= last_score then last_score, last_text = score, string.format('%d', score) end
    return last_text
  end

  -- Write the changes of a key. ZADD takes a score before its member, HSET a field before its value.
  local function write_changes(changes, key, add, drop)
    local own = changes[key]
    if not own then return end
    changes[key] = nil
    local only, its_value = next(own)
    if next(own, only) == nil then return write_one(key, its_value and add or drop, only, its_value) end
    local adds, added, drops, dropped, is_scored = {}, 0, {}, 0, changes == changed_scores
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

  -- Write the changes of a sorted set; required before a command reads it.
  function write_scores(key)
    return write_changes(changed_scores, key, 'ZADD', 'ZREM')
  end

  function write_fields(key)
    return write_changes(changed_fields, key, 'HSET', 'HDEL')
  end

  -- Write all changes except those of STATE, where the reply of this call is stored later.
  function write_all()
    for key in pairs(changed_scores) do write_scores(key) end
    for key in pairs(changed_fields) do
      if key ~= STATE then write_fields(key) end
    end
  end
end

-- Return the value of a field of a hash, changes of this call included; false for none.
local function field_of(key, name)
  local value = changed_fields[key] and changed_fields[key][name]
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

-- Return values of a hash, changes of this call included.
local function fields_of(key, names)
  local own = changed_fields[key]
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

  -- Return the first `count` members with a prefix (words, each ended by a zero byte), changes of this call included.
  -- Few changes are merged here instead of being written: a job that is leased as it is put is never in READY.
  function first_of(key, prefix, count)
    local own, beginning, last = changed_scores[key], prefix .. '\0', prefix .. '\1'
    if not (own and is_few(own)) then
      write_scores(key)
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

-- Return the head of a msgpack array of `count` values, which are appended to it as they are, blobs unread.
local function array(count)
  if count < 16 then return SMALL_ARRAYS[count] end
  if count < 65536 then return struct.pack('>BI2', 0xdc, count) end
  return struct.pack('>BI4', 0xdd, count)
end
local NONE = '\192'
