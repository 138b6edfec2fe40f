-- Get, find, stats, blocked and audit: verbs that only read.

-- ---- get ----
--
-- Read the records of jobs.
--
-- KEYS     all of the queue
-- ARGV     1 ids
-- returns  msgpack: by id its record (record_of) as one text, or nil
do

verb('get', 'no-writes', nil, function()
  local ids, records = ARGV[1], {}
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = get_job(id)
    records[index] = job and pack(record_of(job)) or NIL
  end
  return array_head(#records) .. table.concat(records)
end)
end

-- ---- find ----
--
-- Read a page of records, in order of entry. At most MAX_PAGE jobs are examined.
--
-- KEYS     all of the queue
-- ARGV     1 cursor · 2 how many records at most · 3 filter ({state, task, key, owner}, false for any)
-- returns  msgpack: entry, id and record as one text of each, in turn; and the cursor behind them, or nil at the end
do

local MAX_PAGE = 1000
local READ = 100

local function matches(job, filter)
  local job_state, task, key, owner = unpack(filter)
  return (job_state == false or job.state == job_state) and (not task or job.task == task)
    and (not key or job.key == key) and (not owner or job.owner == owner)
end

-- Return ids and entries of the jobs behind an entry, in turn.
local function behind(entry)
  return call('ZRANGEBYSCORE', ENTRIES, '(' .. string.format('%.0f', entry), '+inf', 'WITHSCORES', 'LIMIT', 0, READ)
end

local function find(cursor, limit, filter)
  local records, examined = {}, 0
  while true do
    local found, ids = behind(cursor), {}
    for index = 1, #found, 2 do ids[#ids + 1] = found[index] end
    read_jobs(ids)
    for index, id in ipairs(ids) do
      if examined == MAX_PAGE or #records == limit then return records, cursor end
      local job = get_job(id)
      examined, cursor = examined + 1, tonumber(found[2 * index])
      if job and matches(job, filter) then records[#records + 1] = pack(cursor, id, record_of(job)) end
    end
    if #ids < READ then return records, nil end
  end
end

verb('find', 'no-writes', nil, function()
  local records, cursor = find(ARGV[1], ARGV[2], ARGV[3])
  return array_head(2) .. array_head(3 * #records) .. table.concat(records) .. pack(cursor)
end)
end

-- ---- stats ----
--
-- Read the counts, in O(tasks, priorities in use, callers).
--
-- KEYS     all of the queue
-- ARGV     1 test clock or ''
-- returns  msgpack: scheduled, running, succeeded, failed, cancelled, purged, accepted, age of the oldest waiting or
--          nil; and by gate {task, live, running, paused, declared, override}
do

local oldest_seq, oldest_id

local function examine(seq, id)
  if id and (not oldest_seq or seq < oldest_seq) then oldest_seq, oldest_id = seq, id end
end

-- READY holds the jobs of a task by priority, and then by seq: examine the first of each priority.
local function examine_ready(task)
  local start, stop = task .. '\0', '(' .. task .. '\1'
  while true do
    local member = call('ZRANGEBYLEX', READY, '[' .. start, stop, 'LIMIT', 0, 1)[1]
    if not member then return end
    local score = unpack_score(member, #task + 2)
    local seq = score % LEVEL
    examine(seq, string.sub(member, #task + 9))
    start = task .. '\0' .. struct.pack('>I7', score - seq + LEVEL)
  end
end

-- Return when the waiting job with the smallest seq was created; nil if no job waits.
local function oldest_created_at()
  oldest_seq, oldest_id = nil, nil
  local hidden = call('ZRANGE', HIDDEN, 0, 0, 'WITHSCORES')
  examine(tonumber(hidden[2]), hidden[1])
  for task, gate in pairs(gates) do
    if gate.live > 0 and task ~= '' then examine_ready(task) end
  end
  local oldest = oldest_id and get_job(oldest_id)
  return oldest and math.min(now, oldest.created_at)
end

verb('stats', 'no-writes', nil, function()
  set_now(ARGV[1])
  local own, names, shown = gate_of(''), gate_names(), {}
  for index, packed in ipairs(#names > 0 and read_fields(STATE, names) or names) do
    local gate = read_gate(names[index], packed)
    shown[index] = pack({gate.task, gate.live, gate.running, gate.paused, gate.declared, gate.override})
  end
  local created_at = oldest_created_at()
  return array_head(2) .. array_head(8) .. pack(
    state.scheduled, own.running, state.succeeded, state.failed, state.cancelled, state.purged, state.accepted,
    created_at and now - created_at
  ) .. array_head(#shown) .. table.concat(shown)
end)
end

-- ---- blocked ----
--
-- Read a page of the blocked keys, by the time since which they are blocked.
--
-- KEYS     all of the queue
-- ARGV     1 since when the last key of the previous page is blocked, or '' · 2 that key · 3 how many at most ·
--          4 owner of the head, false for any
-- returns  msgpack: {key, id of its head or nil, reason, since}, …; whether there are more; since and key of the last
--          one that was examined
do

local MAX_PAGE = 1000

-- Return the number of blocked keys up to (since, key), whether or not that key is still blocked.
local function rank_behind(since, key)
  local first, last = call('ZCOUNT', BLOCKED, '-inf', '(' .. since), call('ZCOUNT', BLOCKED, '-inf', since)
  local rank = call('ZRANK', BLOCKED, key)
  if rank and call('ZSCORE', BLOCKED, key) == since then return rank + 1 end
  -- The key is blocked no longer, or since another time: search among the keys of equal `since`, which are sorted by
  -- bytes.
  while first < last do
    local middle = math.floor((first + last) / 2)
    if is_less(key, call('ZRANGE', BLOCKED, middle, middle)[1]) then last = middle else first = middle + 1 end
  end
  return first
end

verb('blocked', 'no-writes', nil, function()
  local start = ARGV[1] == '' and 0 or rank_behind(ARGV[1], ARGV[2])
  local limit, owner = ARGV[3], ARGV[4]
  local most = owner and MAX_PAGE or limit
  local keys, shown, examined, key, since = call('ZRANGE', BLOCKED, start, start + most), {}, 0, nil, nil
  while examined < math.min(#keys, most) and #shown < limit do
    examined = examined + 1
    key = keys[examined]
    local id = head_of(key)
    local head = id and get_job(id)
    local reason
    reason, since = why_blocked(key, head)
    since = since or 0  -- it is that of the head, which may be damaged
    if not owner or head and head.owner == owner then
      shown[#shown + 1] = array_head(4) .. pack(key, head and head.id, reason or 'paused', since)
    end
  end
  return array_head(4) .. array_head(#shown) .. table.concat(shown) .. pack(#keys > examined, since, key)
end)
end

-- ---- audit ----
--
-- Read everything, as of one instant; O(n).
--
-- KEYS     all of the queue
-- ARGV     none
-- returns  by key, in their order, the reply of HGETALL or of ZRANGE WITHSCORES
do

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
end
