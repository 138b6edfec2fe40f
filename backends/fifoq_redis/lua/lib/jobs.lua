-- Jobs: read once in a call, changed in memory and written at its end; with them the timers that change jobs, and the
-- retention of those that have ended.

-- ---- jobs ----
--
-- A job is one packed field of JOBS. Its spec, error and progress have hashes of their own, and are not read with it.

-- The jobs that this call has read, by id, with false for a job that does not exist; and the ids of the jobs to write.
local jobs, changed_jobs

at_call_start(function() jobs, changed_jobs = {}, {} end)

-- Decode a job. Most jobs are plain: all fields from `crashes` on have their defaults, and are left out.
local function decode_job(id, packed)
  local job_state, priority, entry, seq, attempt, created_at, started_at, lease_end, spec_retain, task, key, value,
        token, worker, is_plain, crashes, due_at, held_since, expires_at, finished_at, kept_until, retain,
        cancel_requested, halted, result, has_error, has_progress, unique, owner, reason = unpack_all(packed)
  local job = {
    id = id, state = job_state, priority = priority, entry = entry, seq = seq, attempt = attempt,
    created_at = created_at, started_at = started_at, lease_end = lease_end, spec_retain = spec_retain, task = task,
    key = key, value = value, token = token, worker = worker, crashes = crashes or 0,
  }
  jobs[id] = job
  if is_plain then return job end
  job.due_at, job.held_since, job.expires_at, job.finished_at = due_at, held_since, expires_at, finished_at
  job.kept_until, job.retain, job.cancel_requested, job.halted = kept_until, retain, cancel_requested, halted
  job.unique, job.owner, job.reason = unique, owner, reason
  job.result, job.has_error, job.has_progress = result, has_error, has_progress
  return job
end

local function encode_job(job)
  local is_plain = not (job.finished_at or job.has_error or job.has_progress or job.unique or job.due_at
    or job.expires_at or job.owner or job.cancel_requested or job.reason or job.halted or job.result or job.crashes > 0)
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
    job.cancel_requested, job.halted, job.result, job.has_error, job.has_progress, job.unique, job.owner, job.reason
  )
end

-- Return the job with an id, changes included; false if there is none.
local function find_job(id)
  local job = jobs[id]
  if job ~= nil then return job end
  local packed = call('HGET', JOBS, id)
  if packed then return decode_job(id, packed) end
  jobs[id] = false
  return false
end

-- Return the job with an id that a line or an index contains. Raises CORRUPT if there is none.
local function get_job(id)
  return find_job(id) or error({err = 'CORRUPT job ' .. id .. ' is due or in line, and has no record'})
end

-- Read many jobs with one command.
local function read_jobs(ids)
  local missing, count = {}, 0
  for _, id in ipairs(ids) do
    if jobs[id] == nil then
      count = count + 1
      missing[count] = id
    end
  end
  if count == 0 then return end
  for index, packed in ipairs(read_fields(JOBS, missing)) do
    if packed then decode_job(missing[index], packed) else jobs[missing[index]] = false end
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

-- Return the record of a job, as msgpack: an array of the fields of fifoq.record.Record, the spec being the first.
local function record_of(job)
  local spec = field_of(SPECS, job.id)
  if not spec then error({err = 'CORRUPT job ' .. job.id .. ' has no spec'}) end
  local function extra(flag, extras)
    return job[flag] and field_of(extras, job.id) or NIL
  end
  return table.concat({
    array_head(17), spec,
    pack(job.entry, job.seq, job.state, job.attempt, job.crashes, job.created_at, job.due_at, job.started_at,
         job.finished_at, job.worker),
    job.result or NIL, extra('has_error', ERRORS), extra('has_progress', PROGRESS),
    pack(job.reason, job.cancel_requested or false, job.halted or false),
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

-- Among equal times the entry decides: it has a fixed width, so its bytes compare as numbers.
local function timer_member(job)
  return struct.pack('>I6', job.entry) .. job.id
end

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
