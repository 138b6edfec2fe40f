-- Jobs: read once in a call, changed in memory and written at its end; with them the timers that change jobs, and the
-- retention of those that have ended.

-- ---- jobs ----
--
-- A job is one packed field of JOBS. Its spec, error and progress have hashes of their own, and are not read with it.

-- The jobs that this call has read, by id, with false for a job that does not exist; and the ids of the jobs to write.
local jobs, changed_jobs

at_call_start(function() jobs, changed_jobs = {}, {} end)

local may_be, decode_job
do
  -- The largest of all stored numbers: 2^53. Beyond it not every whole number has a notation.
  local LARGEST = 9007199254740992

  -- Return whether a number that may be missing is a time, a count or a place. Raises if it is of another type.
  function may_be(number)
    return not number or (number >= 0 and number <= LARGEST and number % 1 == 0)
  end

  -- Raise an error unless the fields that every job has are of their types, and within their ranges. A comparison with
  -- a value of another type raises by itself: that is the cheapest check there is.
  local function check_job(job)
    local job_state, priority, seq, key, value = job.state, job.priority, job.seq, job.key, job.value
    local sum = job.entry + job.attempt + job.crashes + job.created_at + job.spec_retain + priority + job_state
    local is_sound = job_state >= 0 and job_state <= 5 and priority >= -9 and priority <= 9 and job.entry > 0
      and job.attempt >= 0 and job.crashes >= 0 and job.created_at >= 0 and job.spec_retain >= 0 and sum <= LARGEST
      and sum % 1 == 0 and job.task >= '' and (not key or key >= '') and (not value or value >= '')
      and may_be(job.started_at) and may_be(job.lease_end) and may_be(seq)
    if is_sound and job_state == RUNNING then is_sound = job.token >= '' and job.lease_end > 0 and seq > 0 end
    if is_sound and (job_state == WAITING or job.halted) then is_sound = seq > 0 end
    if not is_sound then error('out of range') end
  end

  -- The same for the other fields.
  local function check_rest(job)
    local key, unique, owner, reason, result = job.key, job.unique, job.owner, job.reason, job.result
    local is_sound = may_be(job.due_at) and may_be(job.held_since) and may_be(job.expires_at)
      and may_be(job.finished_at) and may_be(job.kept_until) and may_be(job.retain)
      and (not unique or unique >= '') and (not owner or owner >= '') and (not reason or reason >= '')
      and (not result or result >= '')
    if is_sound and job.halted then is_sound = key and job.finished_at >= 0 and job.retain >= 0 end
    if not is_sound then error('out of range') end
  end

  -- Decode a job. Most jobs are plain: all fields from `crashes` on have their defaults, and are left out. Raises if it
  -- cannot be read.
  function decode_job(id, packed)
    local job_state, priority, entry, seq, attempt, created_at, started_at, lease_end, spec_retain, task, key, value,
          token, worker, is_plain, crashes, due_at, held_since, expires_at, finished_at, kept_until, retain,
          cancel_requested, halted, result, has_error, has_progress, unique, owner, reason, damaged = unpack_all(packed)
    local job = {
      id = id, state = job_state, priority = priority, entry = entry, seq = seq, attempt = attempt,
      created_at = created_at, started_at = started_at, lease_end = lease_end, spec_retain = spec_retain, task = task,
      key = key, value = value, token = token, worker = worker, crashes = crashes or 0,
    }
    if is_plain then
      if is_plain ~= true or crashes ~= nil then error('not plain') end
      check_job(job)
      return job
    end
    job.due_at, job.held_since, job.expires_at, job.finished_at = due_at, held_since, expires_at, finished_at
    job.kept_until, job.retain, job.cancel_requested, job.halted = kept_until, retain, cancel_requested, halted
    job.unique, job.owner, job.reason = unique, owner, reason
    job.result, job.has_error, job.has_progress, job.damaged = result, has_error, has_progress, damaged
    check_job(job)
    check_rest(job)
    return job
  end
end

local function encode_job(job)
  local is_plain = not (job.finished_at or job.has_error or job.has_progress or job.unique or job.due_at
    or job.expires_at or job.owner or job.cancel_requested or job.reason or job.halted or job.result or job.crashes > 0
    or job.damaged)
  if is_plain then
    return pack(
      job.state, job.priority, job.entry, job.seq, job.attempt, job.created_at, job.started_at, job.lease_end,
      job.spec_retain, job.task, job.key, job.value, job.token, job.worker, true
    )
  end
  return pack(
    job.state, job.priority, job.entry, job.seq, job.attempt, job.created_at, job.started_at, job.lease_end,
    job.spec_retain, job.task, job.key, job.value, job.token, job.worker, false,
    job.crashes, job.due_at, job.held_since, job.expires_at, job.finished_at, job.kept_until, job.retain,
    job.cancel_requested, job.halted, job.result, job.has_error, job.has_progress, job.unique, job.owner, job.reason,
    job.damaged
  )
end

-- The distance of two priorities in a score.
local LEVEL = 281474976710656

-- Return the score of a job, in 7 bytes that compare as numbers: of all offered jobs, the one with the smallest is
-- claimed first.
local function score_of(job)
  return struct.pack('>I7', (9 - job.priority) * LEVEL + job.seq)
end

-- Return the score in a member of READY or OFFERS, as a number. `start`: its position.
local function unpack_score(member, start)
  return (struct.unpack('>I7', member, start))
end

-- Among equal times the entry decides: it has a fixed width, so its bytes compare as numbers.
local function timer_member(job)
  return struct.pack('>I6', job.entry) .. job.id
end

-- ---- damaged jobs ----
--
-- A job is damaged if its record is missing, cannot be read, or contradicts its spec. In its place stands a job made of
-- its spec and of the keys that name it, so that it leaves these as any other job does: it waits, a worker claims it,
-- and the worker sets it aside.

local spec_of, place_in_line, rebuild_job
do
  local function is(kind, value)
    return value == nil or type(value) == kind
  end

  -- Return task, key, value, priority, whether it is scheduled first, unique text, retention and owner in the spec of a
  -- job; nothing if that cannot be read.
  function spec_of(id)
    local ok, _, own_id, task, key, value, priority, delay, in_line, _, unique, retain, owner =
      pcall(cmsgpack.unpack_limit, field_of(SPECS, id) or '', 11, 1)
    if not ok or own_id ~= id or not is('string', key) or not is('string', value) or not is('string', unique)
      or not is('string', owner) or type(task) ~= 'string' or type(priority) ~= 'number' or type(delay) ~= 'number'
      or type(retain) ~= 'number' or priority < -9 or priority > 9 or not may_be(retain) or not may_be(delay) then
      return nil
    end
    return task, key, value, priority, delay > 0 and not in_line, unique, retain, owner
  end

  -- Return the field of a hash that has a value; O(n).
  local function field_with(key, wanted)
    local all = call('HGETALL', key)
    for index = 2, #all, 2 do
      if all[index] == wanted then return all[index - 1] end
    end
  end

  -- Return the ordering key and the seq of the member of LINES that names a job; nil for none. O(n of the line), or O(n)
  -- without a key.
  function place_in_line(id, key)
    local members = key and call('ZRANGEBYLEX', LINES, '[' .. key .. '\0', '(' .. key .. '\1')
      or call('ZRANGE', LINES, 0, -1)
    for _, member in ipairs(members) do
      local length = #member - #id - 7
      if length > 0 and string.sub(member, -#id) == id and string.byte(member, length + 1) == 0 then
        return string.sub(member, 1, length), (struct.unpack('>I6', member, length + 2))
      end
    end
  end

  local function is_ready(job)
    return call('ZSCORE', READY, job.task .. '\0' .. score_of(job) .. job.id)
  end

  -- Return whether more jobs are counted as scheduled than can be read; O(timers).
  local function is_scheduled()
    local readable = 0
    for _, member in ipairs(call('ZRANGE', TIMERS, 0, -1)) do
      local id = string.sub(member, 7)
      local ok, job = pcall(decode_job, id, call('HGET', JOBS, id) or '')
      if ok and job.state == SCHEDULED then readable = readable + 1 end
    end
    return state.scheduled > readable
  end

  local function ended_state(job)
    if job.seq or (call('HEXISTS', ERRORS, job.id) == 1 and state.failed > 0) then return FAILED end
    return state.succeeded > 0 and SUCCEEDED or state.failed > 0 and FAILED or CANCELLED
  end

  -- Set the state of a job, and what belongs to it, by the keys that name it.
  local function set_state(job, is_scheduled_first)
    local _, seq = nil, nil
    if job.key then _, seq = place_in_line(job.id, job.key) end
    local timer = tonumber(call('ZSCORE', TIMERS, timer_member(job)))
    local hidden = tonumber(call('ZSCORE', HIDDEN, job.id))
    job.seq = hidden or seq or job.entry
    if hidden or is_ready(job) then
      job.state, job.expires_at = WAITING, timer
    elseif not timer then
      job.seq, job.finished_at = seq, now or 0
      job.state, job.halted = ended_state(job), seq ~= nil
    elseif is_scheduled_first and not seq and is_scheduled() then
      job.state, job.due_at, job.seq = SCHEDULED, timer, nil
    else
      job.state, job.lease_end = RUNNING, timer
    end
  end

  -- Return a job in place of a damaged one; nil if nothing names it.
  function rebuild_job(id)
    local entry = tonumber(call('ZSCORE', ENTRIES, id))
    if not entry then return nil end
    local task, key, value, priority, is_scheduled_first, unique, retain, owner = spec_of(id)
    if not task then
      key, unique = place_in_line(id), field_with(UNIQUES, id)
      for _, name in ipairs(call('HKEYS', STATE)) do
        if name ~= '' and string.byte(name) ~= 0 and not task then task = name end
      end
    end
    local job = {
      id = id, damaged = true, task = task or '', key = key, value = value, priority = priority or 0, unique = unique,
      owner = owner, spec_retain = retain or 0, retain = retain or 0, entry = entry, attempt = 0, crashes = 0,
      created_at = now or 0,
      has_error = true, has_progress = true,
    }
    set_state(job, is_scheduled_first)
    return job
  end
end

-- ---- reading jobs ----

local find_job, get_job, holder_of, read_jobs
do
  local function load_job(id, packed)
    local ok, job = pcall(decode_job, id, packed)
    if not ok then job = rebuild_job(id) or false end
    jobs[id] = job
    return job
  end

  -- Return the job with an id, changes included; false if there is none.
  function find_job(id)
    local job = jobs[id]
    if job ~= nil then return job end
    local packed = call('HGET', JOBS, id)
    if packed then return load_job(id, packed) end
    jobs[id] = false
    return false
  end

  -- Return the job with an id that a line or an index contains; nil if the queue does not have it.
  function get_job(id)
    local job = find_job(id)
    -- What still names a job that this call has removed does not bring it back.
    if job or changed_jobs[id] then return job or nil end
    job = rebuild_job(id)
    if job then jobs[id] = job end
    return job
  end

  -- Return the id of the scheduled or live job that holds a unique text; false for none. A job whose record was damaged
  -- may have left its text behind.
  function holder_of(unique)
    local id = field_of(UNIQUES, unique)
    local job = id and get_job(id)
    return job and (job.state < SUCCEEDED or job.halted) and id
  end

  -- Read many jobs with one command.
  function read_jobs(ids)
    local missing, count = {}, 0
    for _, id in ipairs(ids) do
      if jobs[id] == nil then
        count = count + 1
        missing[count] = id
      end
    end
    if count == 0 then return end
    for index, packed in ipairs(read_fields(JOBS, missing)) do
      if packed then load_job(missing[index], packed) else jobs[missing[index]] = false end
    end
  end
end

-- Have a changed job written at the end of the call.
local function touch(job)
  changed_jobs[job.id] = true
end

local function write_jobs()
  for id in pairs(changed_jobs) do
    local job = jobs[id]
    set_field(JOBS, id, job and encode_job(job))
  end
  changed_jobs = {}
end

-- Return whether READY may lack the job while it waits.
local function may_be_hidden(job)
  return job.key or job.value or job.due_at
end

-- Set the job's error or progress, in the hash `extras`. `flag`: the field of the job that notes whether it has one.
local function set_extra(job, flag, extras, value)
  job[flag] = true
  set_field(extras, job.id, value)
end

local function drop_extra(job, flag, extras)
  if job[flag] then
    job[flag] = false
    set_field(extras, job.id, false)
  end
end

-- Return the record of a job, as msgpack: an array of the fields of fifoq.record.Record, the spec being the first, and
-- of whether it is damaged. Its parts are as they were sent, and may be damaged too: a reader gets each record by itself.
local function record_of(job)
  local function extra(flag, extras)
    return job[flag] and field_of(extras, job.id) or NIL
  end
  return table.concat({
    array_head(18), field_of(SPECS, job.id) or NIL,
    pack(job.entry, job.seq, job.state, job.attempt, job.crashes, job.created_at, job.due_at, job.started_at,
         job.finished_at, job.worker),
    job.result or NIL, extra('has_error', ERRORS), extra('has_progress', PROGRESS),
    pack(job.reason, job.cancel_requested or false, job.halted or false, job.damaged or false),
  })
end

-- ---- timers ----
--
-- A timer is the time at which a job next changes by itself: it falls due, it expires, or its lease ends.
--
-- `state.first_timer` is the time of the first of all. TIMERS is read for it only if a timer was moved or dropped.

-- How many timers are fired by one call at most.
local MAX_TIMERS = 1000

-- The first timer that was set in this call, the same of a job that waits, and whether any timer was moved or dropped.
local first_set, first_of_waiting, any_moved

at_call_start(function() first_set, first_of_waiting, any_moved = nil, nil, false end)

-- Set the timer of a job that has none.
local function add_timer(job, at)
  set_score(TIMERS, timer_member(job), at)
  if not first_set or at < first_set then first_set = at end
end

-- Set the timer of a job that has one.
local function move_timer(job, at)
  any_moved = true
  add_timer(job, at)
end

local function drop_timer(job)
  any_moved = true
  remove_member(TIMERS, timer_member(job))
end

-- Set the timer of a waiting or scheduled job by its times. A worker sleeps until the next timer of its last claim: if
-- this one is the first, end_change notifies a waiter.
local function set_timer(job)
  local at = job.due_at
  if job.expires_at and (not at or job.expires_at < at) then at = job.expires_at end
  if not at then return drop_timer(job) end
  move_timer(job, at)
  if not first_of_waiting or at < first_of_waiting then first_of_waiting = at end
end

local function update_first_timer()
  write_scores(TIMERS)
  if any_moved then
    state.first_timer = tonumber(call('ZRANGE', TIMERS, 0, 0, 'WITHSCORES')[2]) or false
  elseif first_set and (not state.first_timer or first_set < state.first_timer) then
    state.first_timer = first_set
  end
  first_set, any_moved = nil, false
end

-- ---- retention ----
--
-- Jobs that end in one call, and are kept until the same time, share a member of ENDS: a sorted set with a member for
-- each job costs a tenth of a drain. A failed job has a member of its own, since it may be requeued.

local keep_until, drop_retention, write_retention, take_purgeable
do
  -- Entries and ids of the jobs that end in this call, by the time until which they are kept.
  local ended

  at_call_start(function() ended = {} end)

  local function own_member(job)
    return pack(job.entry, job.id)
  end

  -- Start the retention of a job that has ended.
  function keep_until(job, at)
    job.kept_until = at
    if job.state == FAILED then return set_score(ENDS, own_member(job), at) end
    local own = ended[at]
    if not own then
      own = {}
      ended[at] = own
    end
    own[#own + 1] = job.entry
    own[#own + 1] = job.id
  end

  -- End the retention of a failed job that is requeued.
  function drop_retention(job)
    remove_member(ENDS, own_member(job))
    job.kept_until = nil
  end

  function write_retention()
    for at, entries_and_ids in pairs(ended) do
      for first = 1, #entries_and_ids, CHUNK do
        set_score(ENDS, pack(unpack(entries_and_ids, first, math.min(first + CHUNK - 1, #entries_and_ids))), at)
      end
    end
    ended = {}
  end

  -- Return the jobs in some members, by entry.
  local function jobs_in(members)
    local found = {}
    for _, member in ipairs(members) do
      local entries_and_ids = {unpack_all(member)}
      for index = 1, #entries_and_ids, 2 do
        found[#found + 1] = {entry = entries_and_ids[index], id = entries_and_ids[index + 1], member = member}
      end
    end
    table.sort(found, function(a, b) return a.entry < b.entry end)
    return found
  end

  -- Take jobs out of `members`, which are all members of one time, and add their ids to `ids`, up to `limit` of these.
  -- A member that was taken in part is replaced by its rest.
  local function take_at(at, members, ids, limit)
    local opened, rest = {}, {}
    for _, job in ipairs(jobs_in(members)) do
      if #ids < limit then
        ids[#ids + 1] = job.id
        opened[job.member] = true
        remove_member(ENDS, job.member)
      elseif opened[job.member] then
        rest[#rest + 1] = job.entry
        rest[#rest + 1] = job.id
      end
    end
    if rest[1] then ended[tonumber(at)] = rest end
  end

  -- Take out up to `limit` jobs whose retention is over, by time and entry; return their ids.
  function take_purgeable(limit)
    local ids, index = {}, 1
    local over = call('ZRANGEBYSCORE', ENDS, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
    while index < #over and #ids < limit do
      local at, members = over[index + 1], {}
      while over[index + 1] == at do
        members[#members + 1] = over[index]
        index = index + 2
      end
      -- The last time may have more members than were read, and among them earlier entries.
      if index > #over and #over == 2 * limit then members = call('ZRANGEBYSCORE', ENDS, at, at) end
      take_at(at, members, ids, limit)
    end
    return ids
  end
end
