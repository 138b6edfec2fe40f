-- The runtime of a call: its start, the keys of its queue, and its changes, which are collected and written together.
--
-- A server loads the library once and keeps the functions with their locals, so a call finds the locals as the previous
-- call left them. Each file therefore registers a reset of its own locals (`at_call_start`).
--
-- All files are one chunk, which has 200 locals at most: functions that only one section or one verb needs are in a
-- block.

-- ---- the start of a call ----

local function look_up_globals()
  return redis.call, cmsgpack.pack, cmsgpack.unpack, next, unpack, pcall, math, string, struct
end

-- The globals that are used most, looked up by the first call: some do not exist yet while the library is loaded. A
-- local is read faster, since a global is looked up in two tables each time.
local call, pack, unpack_all, next, unpack, pcall, math, string, struct

-- The input of the call. ARGV holds the values, which arrive as one argument: msgpack values one after another. BLOBS
-- holds all arguments: those from 2 on are bytes that are stored as they are.
local KEYS, ARGV, BLOBS

local resets = {}

local function at_call_start(reset)
  resets[#resets + 1] = reset
end

local function start_call(keys, args)
  if not call then call, pack, unpack_all, next, unpack, pcall, math, string, struct = look_up_globals() end
  KEYS, ARGV, BLOBS = keys, {unpack_all(args[1])}, args
  for index = 1, #resets do resets[index]() end
end

-- ---- the keys of a queue ----
--
-- All lie in one slot of a cluster, and every call declares all of them, in this order. No key is built from the data
-- of a job: a task, an ordering key or a value is part of a member or a field. In the store the key of STATE is named
-- `book`, that of HIDDEN `waiting`, and that of AWAITED `watched`.
--
-- "a, b by c" is a sorted set with members that consist of a and b, and c as score. In members and fields, a zero byte
-- separates a task, a value or an ordering key from the part behind it, and a space a verb; a job's score has 7 bytes,
-- an entry or a seq has 6.

local STATE,    -- hash: COUNTERS -> the counters of the queue, packed; task ('' for the queue) -> its gate, packed;
                -- zero byte, verb, caller -> number of the caller's last call, its score in CALLERS, and the reply
      JOBS,     -- hash: id -> the job, packed (jobs.lua), with its result as it was sent
      SPECS,    -- hash: id -> the job's spec, as it was sent
      ERRORS,   -- hash: id -> the error of the job's last failed attempt, as it was sent
      PROGRESS, -- hash: id -> the job's progress, as it was sent
      ENTRIES,  -- sorted set: id by entry
      HIDDEN,   -- sorted set: id of each waiting job that may be absent from READY, by seq
      READY,    -- sorted set: task, score, id of each offered job without a value, and of the first of each open value
      OFFERS,   -- sorted set: task, value, score, id of each offered job that has a value
      VALUES,   -- hash: task, value -> the gate of the value, packed
      LINES,    -- sorted set: ordering key, seq, id of each live job that has a key
      TIMERS,   -- sorted set: entry, id by the time at which the job next changes by itself
      ENDS,     -- sorted set: entries and ids of ended jobs, packed, by the end of their retention
      UNIQUES,  -- hash: unique text -> id of the scheduled or live job that holds it
      PAUSED,   -- hash: ordering key -> when it was paused
      BLOCKED,  -- sorted set: ordering key by the time since which it is blocked
      CALLERS,  -- sorted set: zero byte, verb, caller by the time of the last call, up to REPLY_SLACK too early
      WAITERS,  -- hash: channel of a waiter for claimable jobs -> its tasks, and the claim to make ahead (waiters.lua)
      AWAITED   -- hash: id -> the channels to notify when the job ends, each after a space

at_call_start(function()
  STATE, JOBS, SPECS, ERRORS, PROGRESS, ENTRIES, HIDDEN, READY, OFFERS, VALUES, LINES, TIMERS,
  ENDS, UNIQUES, PAUSED, BLOCKED, CALLERS, WAITERS, AWAITED
    = unpack(KEYS)
end)

-- ---- changes ----
--
-- One command for a hundred jobs costs a fifth of a hundred commands.

-- How many values are passed to one command at most: Lua's stack is limited.
local CHUNK = 2000

-- The changes not written yet, by key: of a sorted set member -> score, of a hash field -> value; false removes.
local new_scores, new_fields

at_call_start(function() new_scores, new_fields = {}, {} end)

-- Set the score of a member of a sorted set.
local function set_score(key, member, score)
  local own = new_scores[key]
  if own then own[member] = score else new_scores[key] = {[member] = score} end
end

local function remove_member(key, member)
  return set_score(key, member, false)
end

-- Remove a member that is not in the store if this call has set its score: then only that change is dropped.
local function unset_score(key, member)
  local own = new_scores[key]
  if not (own and own[member]) then return remove_member(key, member) end
  own[member] = nil
  if next(own) == nil then new_scores[key] = nil end
end

-- Set a field of a hash; false removes it.
local function set_field(key, field, value)
  local own = new_fields[key]
  if own then own[field] = value else new_fields[key] = {[field] = value} end
end

local write_scores, write_fields, write_changes
do
  local function call_in_chunks(command, key, values, count)
    if count == 0 then return end
    if count <= CHUNK then return call(command, key, unpack(values)) end
    for first = 1, count, CHUNK do
      call(command, key, unpack(values, first, math.min(first + CHUNK - 1, count)))
    end
  end

  -- Write a single change without lists: that saves 5 to 10 % of a call of one job.
  local function write_one(key, command, name, value)
    if not value then return call(command, key, name) end
    if command == 'ZADD' then name, value = value, name end
    return call(command, key, name, value)
  end

  -- A score in the notation of the server, which takes 1 us to make. Most scores of one call are equal: keep the last.
  local last_score, last_text

  local function text_of(score)
    if score ~= last_score then last_score, last_text = score, string.format('%d', score) end
    return last_text
  end

  -- Write the changes of one key. ZADD takes each score before its member, HSET each field before its value.
  local function write_key(changes, key, add, remove)
    local own = changes[key]
    if not own then return end
    changes[key] = nil
    local only, its_value = next(own)
    if next(own, only) == nil then return write_one(key, its_value and add or remove, only, its_value) end
    local adds, added, removes, removed, is_scored = {}, 0, {}, 0, changes == new_scores
    for name, value in next, own do
      if not value then
        removed = removed + 1
        removes[removed] = name
      else
        adds[added + 1] = is_scored and text_of(value) or name
        added = added + 2
        adds[added] = is_scored and name or value
      end
    end
    call_in_chunks(add, key, adds, added)
    call_in_chunks(remove, key, removes, removed)
  end

  -- Write the changes of a sorted set. Has to come before each read of the set by a plain command.
  function write_scores(key)
    return write_key(new_scores, key, 'ZADD', 'ZREM')
  end

  function write_fields(key)
    return write_key(new_fields, key, 'HSET', 'HDEL')
  end

  -- Write all changes but those of STATE: the reply, which is stored there, may not be known yet.
  function write_changes()
    for key in pairs(new_scores) do write_scores(key) end
    for key in pairs(new_fields) do
      if key ~= STATE then write_fields(key) end
    end
  end
end

-- ---- reads ----

-- Return the value of a field of a hash, changes included; false if there is none.
local function field_of(key, name)
  local value = new_fields[key] and new_fields[key][name]
  if value == nil then return call('HGET', key, name) end
  return value
end

-- Return the stored values of fields of a hash, changes not included.
local function read_fields(key, names)
  local count = #names
  if count <= CHUNK then return call('HMGET', key, unpack(names)) end
  local values = {}
  for first = 1, count, CHUNK do
    local chunk = call('HMGET', key, unpack(names, first, math.min(first + CHUNK - 1, count)))
    for index = 1, #chunk do values[first + index - 1] = chunk[index] end
  end
  return values
end

local function any_changed(own, names)
  for _, name in ipairs(names) do
    if own[name] ~= nil then return true end
  end
end

-- Return the values of fields of a hash, changes included.
local function fields_of(key, names)
  local own = new_fields[key]
  if not own or not any_changed(own, names) then return read_fields(key, names) end
  local values = {}
  for index, name in ipairs(names) do values[index] = field_of(key, name) end
  return values
end

-- Return whether `a` comes before `b`, by bytes. Lua's own comparison depends on the server's locale.
local function is_less(a, b)
  for index = 1, math.min(#a, #b) do
    local x, y = string.byte(a, index), string.byte(b, index)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local first_members
do
  local FEW = 4

  local function is_few(own)
    local name
    for _ = 0, FEW do
      name = next(own, name)
      if name == nil then return true end
    end
  end

  local function insert_in_order(members, member)
    local at = #members + 1
    while at > 1 and is_less(member, members[at - 1]) do at = at - 1 end
    table.insert(members, at, member)
  end

  local function read_range(key, start, stop, count)
    return call('ZRANGEBYLEX', key, '[' .. start, '(' .. stop, 'LIMIT', 0, count)
  end

  -- Return the first `count` members of a sorted set that begin with `prefix` and a zero byte, changes included. A few
  -- changes are merged into the members read, and not written for that: a job that is leased in the call that brings it
  -- is never written to READY.
  function first_members(key, prefix, count)
    local own, start, stop = new_scores[key], prefix .. '\0', prefix .. '\1'
    if not (own and is_few(own)) then
      write_scores(key)
      return read_range(key, start, stop, count)
    end
    local members = {}
    for _, member in ipairs(read_range(key, start, stop, count + FEW)) do
      if own[member] == nil then members[#members + 1] = member end
    end
    for member, score in pairs(own) do
      if score and string.sub(member, 1, #start) == start then insert_in_order(members, member) end
    end
    for index = #members, count + 1, -1 do members[index] = nil end
    return members
  end
end

-- ---- msgpack ----

local NIL = '\192'

local SMALL_ARRAYS = {
  [0] = '\144', '\145', '\146', '\147', '\148', '\149', '\150', '\151', '\152', '\153', '\154', '\155', '\156', '\157',
  '\158', '\159',
}

-- Return the head of a msgpack array of `count` values. The caller appends the values, encoded already: blobs are not
-- decoded.
local function array_head(count)
  if count < 16 then return SMALL_ARRAYS[count] end
  if count < 65536 then return struct.pack('>BI2', 0xdc, count) end
  return struct.pack('>BI4', 0xdd, count)
end
