-- Jobs, their timers and their retention.

-- ---- jobs ----

-- A job is read once in a call, changed in memory, and written at the end. Its spec is stored beside it, its result in
-- its record; both are never decoded here.

local jobs, touched

at_begin(function() jobs, touched = {}, {} end)

-- Most jobs are plain: the second half of a record is stored only if a field of it is set.
local function decode(id, packed)
  local state, priority, entry, seq, attempt, created, started, lease, asked, task, key, value, token, worker, is_plain,
        crashes, due, held, expires, finished, kept, retain, cancel, halted, result, has_error, has_progress,
        unique, owner, reason = unpack_all(packed)
  local job = {
    id = id, state = state, priority = priority, entry = entry, seq = seq, attempt = attempt, created = created,
    started = started, lease = lease, asked = asked, task = task, key = key, value = value, token = token,
    worker = worker, crashes = crashes or 0,
  }
  jobs[id] = job
  if is_plain then return job end
  job.due, job.held, job.expires, job.finished, job.kept, job.retain = due, held, expires, finished, kept, retain
  job.cancel, job.halted, job.unique, job.owner, job.reason = cancel, halted, unique, owner, reason
  job.result, job.has_error, job.has_progress = result, has_error, has_progress
  return job
end

local function encode(job)
  local plain = not (job.finished or job.has_error or job.has_progress or job.unique or job.due or job.expires
    or job.owner or job.cancel or job.reason or job.halted or job.result or job.crashes > 0)
  if plain then
    return pack(
      job.state, job.priority, job.entry, job.seq, job.attempt, job.created, job.started, job.lease, job.asked,
      job.task, job.key, job.value, job.token, job.worker, true
    )
  end
  return pack(
    job.state, job.priority, job.entry, job.seq, job.attempt, job.created, job.started, job.lease, job.asked,
    job.task, job.key, job.value, job.token, job.worker, false,
    job.crashes, job.due, job.held, job.expires, job.finished, job.kept, job.retain, job.cancel, job.halted,
    job.result, job.has_error, job.has_progress, job.unique, job.owner, job.reason
  )
end

-- Return the job with that id, changes of this call included; false for none.
local function find_job(id)
  local job = jobs[id]
  if job ~= nil then return job end
  local packed = call('HGET', JOBS, id)
  if packed then return decode(id, packed) end
  jobs[id] = false
  return false
end

-- Return a job that must exist, since an index refers to it.
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
    if packed then decode(missing[index], packed) else jobs[missing[index]] = false end
  end
end

local function touch(job)
  touched[job.id] = true
end

local function write_jobs()
  for id in pairs(touched) do
    local job = jobs[id]
    set_field(JOBS, id, job and encode(job))
  end
  touched = {}
end

-- Return the member of TIMERS of a job: among equal times the entry decides, and fixed width makes bytes compare as
-- numbers.
local function timer_member(job)
  return struct.pack('>I6', job.entry) .. job.id
end

-- A score is (9 - priority) * PRIORITY + seq, in 7 bytes.
local PRIORITY = 281474976710656

local function score_of(job)
  return struct.pack('>I7', (9 - job.priority) * PRIORITY + job.seq)
end

-- Return whether a waiting job may be missing from READY.
local function may_be_hidden(job)
  return job.key or job.value or job.due
end

local function drop_extra(job, flag, extra)
  if job[flag] then
    job[flag] = false
    set_field(extra, job.id, false)
  end
end

local function keep_extra(job, flag, extra, value)
  job[flag] = true
  set_field(extra, job.id, value)
end

-- Return the job as the array of a Record.
local function show_job(job)
  local spec = field_of(SPECS, job.id)
  if not spec then error({err = 'CORRUPT job ' .. job.id .. ' has no spec'}) end
  local function extra(flag, fields)
    return job[flag] and field_of(fields, job.id) or NONE
  end
  return table.concat({
    array(17), spec,
    pack(job.entry, job.seq, job.state, job.attempt, job.crashes, job.created, job.due, job.started, job.finished,
         job.worker),
    job.result or NONE, extra('has_error', ERRORS), extra('has_progress', PROGRESS),
    pack(job.reason, job.cancel or false, job.halted or false),
  })
end

-- ---- timers ----

-- The first of all timers is stored with the counters: a call reads TIMERS for it only if a stored timer was moved or
-- removed.

local earliest, soonest, moved

at_begin(function() earliest, soonest, moved = nil, nil, false end)

-- Set the timer of a job that has none.
local function add_timer(job, at)
  set_score(TIMERS, timer_member(job), at)
  if not earliest or at < earliest then earliest = at end
end

local function move_timer(job, at)
  moved = true
  add_timer(job, at)
end

local function drop_timer(job)
  moved = true
  remove(TIMERS, timer_member(job))
end

-- Set the timer of a waiting job. A worker sleeps until the first timer of its last claim: an earlier one wakes it.
local function set_timer(job)
  local at = job.due
  if job.expires and (not at or job.expires < at) then at = job.expires end
  if not at then return drop_timer(job) end
  move_timer(job, at)
  if not soonest or at < soonest then soonest = at end
end

local function note_first_timer()
  write_scores(TIMERS)
  if moved then
    queue.first = tonumber(call('ZRANGE', TIMERS, 0, 0, 'WITHSCORES')[2]) or false
  elseif earliest and (not queue.first or earliest < queue.first) then
    queue.first = earliest
  end
  earliest, moved = nil, false
end

-- ---- retention ----

-- Jobs that end in one call, with the same retention, are one member of ENDS: a member for each job costs a tenth of a
-- drain. A failed job may be requeued, so it is a member of its own.

local keep_until, requeued, write_kept, take_expired
do
  -- Entries and ids of the jobs that end in this call, by the end of their retention.
  local ended_together

  at_begin(function() ended_together = {} end)

  local function single_member(job)
    return pack(job.entry, job.id)
  end

  function keep_until(job, at)
    job.kept = at
    if job.state == FAILED then return set_score(ENDS, single_member(job), at) end
    local own = ended_together[at]
    if not own then
      own = {}
      ended_together[at] = own
    end
    own[#own + 1] = job.entry
    own[#own + 1] = job.id
  end

  function requeued(job)
    remove(ENDS, single_member(job))
    job.kept = nil
  end

  function write_kept()
    for at, entries in pairs(ended_together) do
      for first = 1, #entries, PART do
        set_score(ENDS, pack(unpack(entries, first, math.min(first + PART - 1, #entries))), at)
      end
    end
    ended_together = {}
  end

  -- Return the jobs of some members, by entry.
  local function jobs_of(members)
    local jobs = {}
    for _, member in ipairs(members) do
      local entries = {unpack_all(member)}
      for index = 1, #entries, 2 do
        jobs[#jobs + 1] = {entry = entries[index], id = entries[index + 1], member = member}
      end
    end
    table.sort(jobs, function(a, b) return a.entry < b.entry end)
    return jobs
  end

  -- Take the jobs of all members of one time out of ENDS, and add them to `ids`, up to `limit` of these. The rest of a
  -- member is stored again.
  local function take_until(at, members, ids, limit)
    local opened, rest = {}, {}
    for _, job in ipairs(jobs_of(members)) do
      if #ids < limit then
        ids[#ids + 1] = job.id
        opened[job.member] = true
        remove(ENDS, job.member)
      elseif opened[job.member] then
        rest[#rest + 1] = job.entry
        rest[#rest + 1] = job.id
      end
    end
    if rest[1] then ended_together[tonumber(at)] = rest end
  end

  -- Take the first `limit` jobs whose retention is over out of ENDS, by time and entry; return their ids.
  function take_expired(limit)
    local ids, index = {}, 1
    local over = call('ZRANGEBYSCORE', ENDS, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
    while index < #over and #ids < limit do
      local at, members = over[index + 1], {}
      while over[index + 1] == at do
        members[#members + 1] = over[index]
        index = index + 2
      end
      -- The last time may have more members than were read, with earlier entries among them.
      if index > #over and #over == 2 * limit then members = call('ZRANGEBYSCORE', ENDS, at, at) end
      take_until(at, members, ids, limit)
    end
    return ids
  end
end
