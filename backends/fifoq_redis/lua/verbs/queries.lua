-- The verbs that look: watch, get, find, stats, blocked, audit.

do -- watch
-- watch: the records of jobs that have ended; for the others, register a channel to be notified of the end.
--
-- KEYS  all of the queue
-- ARGV  1 ids · 2 the channel
-- gives msgpack: by id its record, or false if it has not ended, or nil if there is no such job

local function expect(id)
  local watchers = call('HGET', AWAITED, id) or ''
  if not string.find(' ' .. watchers .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
    queue.awaited = queue.awaited + call('HSET', AWAITED, id, watchers .. ' ' .. ARGV[2])
  end
  return pack(false)
end

verb('watch', 'allow-oom', nil, function()
  local ids, replies, before = ARGV[1], {}, queue.awaited
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = find_job(id)
    replies[index] = not job and NONE or job.state >= SUCCEEDED and show_job(job) or expect(id)
  end
  if queue.awaited > before then
    write_queue()
    write_all()
  end
  return array(#replies) .. table.concat(replies)
end)
end

do -- get
-- get: the records of jobs.
--
-- KEYS  all of the queue
-- ARGV  1 ids
-- gives msgpack: by id its record (show_job), or nil

verb('get', 'no-writes', nil, function()
  local ids, records = ARGV[1], {}
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = find_job(id)
    records[index] = job and show_job(job) or NONE
  end
  return array(#records) .. table.concat(records)
end)
end

do -- find
-- find: a page of records, in order of entry. Reads at most MAX_PAGE of them.
--
-- KEYS  all of the queue
-- ARGV  1 cursor · 2 how many at most · 3 filter ({state, task, key, owner}, false for any)
-- gives msgpack: the records, and the cursor behind them, or nil if there is no more

local function matches(job, filter)
  local state, task, key, owner = unpack(filter)
  return (state == false or job.state == state) and (not task or job.task == task)
    and (not key or job.key == key) and (not owner or job.owner == owner)
end

local function page_behind(number, count)
  return call('ZRANGEBYSCORE', ENTRIES, '(' .. string.format('%.0f', number), '+inf', 'LIMIT', 0, count)
end

local function find(cursor, limit, filter)
  local records, looked = {}, 0
  while true do
    local ids = page_behind(cursor, 100)
    read_jobs(ids)
    for _, id in ipairs(ids) do
      if looked == MAX_PAGE or #records == limit then return records, cursor end
      local job = get_job(id)
      looked, cursor = looked + 1, job.entry
      if matches(job, filter) then records[#records + 1] = show_job(job) end
    end
    if #ids < 100 then return records, nil end
  end
end

verb('find', 'no-writes', nil, function()
  local records, behind = find(ARGV[1], ARGV[2], ARGV[3])
  return array(2) .. array(#records) .. table.concat(records) .. pack(behind)
end)
end

do -- stats
-- stats: the counts, in O(tasks, priorities in use, callers).
--
-- KEYS  all of the queue
-- ARGV  1 test clock or ''
-- gives msgpack: scheduled, running, succeeded, failed, cancelled, purged, accepted, age of the oldest waiting or nil,
--       and by gate {task, live, running, paused, declared, override}

local first_seq, first_id

local function look_at(seq, id)
  if id and (not first_seq or seq < first_seq) then first_seq, first_id = seq, id end
end

-- Look at the first job of each priority of a task in READY, which is in order of priority, then seq.
local function look_at_ready(task)
  local start, last = task .. '\0', '(' .. task .. '\1'
  while true do
    local member = call('ZRANGEBYLEX', READY, '[' .. start, last, 'LIMIT', 0, 1)[1]
    if not member then return end
    local score = score_in(member, #task + 2)
    local seq = score % PRIORITY
    look_at(seq, string.sub(member, #task + 9))
    start = task .. '\0' .. struct.pack('>I7', score - seq + PRIORITY)
  end
end

-- Return when the waiting job with the smallest seq was created; nil for none.
local function oldest_created()
  first_seq, first_id = nil, nil
  local hidden = call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')
  look_at(tonumber(hidden[2]), hidden[1])
  for task, gate in pairs(gates) do
    if gate.live > 0 and task ~= '' then look_at_ready(task) end
  end
  return first_id and get_job(first_id).created
end

verb('stats', 'no-writes', nil, function()
  read_time(ARGV[1])
  local own, names, shown = gate_of(''), gate_names(), {}
  for index, packed in ipairs(#names > 0 and read_fields(STATE, names) or names) do
    local gate = read_gate(names[index], packed)
    shown[index] = pack({gate.task, gate.live, gate.running, gate.paused, gate.declared, gate.override})
  end
  local created = oldest_created()
  return array(2) .. array(8) .. pack(
    queue.scheduled, own.running, queue.succeeded, queue.failed, queue.cancelled, queue.purged, queue.accepted,
    created and now - created
  ) .. array(#shown) .. table.concat(shown)
end)
end

do -- blocked
-- blocked: a page of the blocked keys, by since when they are blocked.
--
-- KEYS  all of the queue
-- ARGV  1 since when the last key shown is blocked, or '' · 2 that key · 3 how many at most
-- gives msgpack: {key, id of its head or nil, reason, since}, …; and whether there is more

-- Return the rank behind (since, key), whether or not that key is still blocked.
local function rank_behind(since, key)
  local first, last = call('ZCOUNT', BLOCKED, '-inf', '(' .. since), call('ZCOUNT', BLOCKED, '-inf', since)
  local marked = call('ZRANK', BLOCKED, key)
  if marked and call('ZSCORE', BLOCKED, key) == since then return marked + 1 end
  -- The key is blocked no longer: search among those of equal `since`, which the set has in order of bytes.
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
end

do -- audit
-- audit: all stored data, as of one instant; O(n).
--
-- KEYS  all of the queue
-- ARGV  none
-- gives by key, in their order, the reply of HGETALL or ZRANGE WITHSCORES

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
