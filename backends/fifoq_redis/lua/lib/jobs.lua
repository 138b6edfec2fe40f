-- Jobs: read once, changed here, written at the end. What was put is kept beside and unread; what was returned stands
-- in the record as it was sent, unread too.

local jobs, touched

at_begin(function() jobs, touched = {}, {} end)

-- Most jobs are plain: the second half of the record is there only if anything in it says something.
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

-- The job with that id as it will be, false for none.
local function find_job(id)
  local job = jobs[id]
  if job ~= nil then return job end
  local packed = call('HGET', JOBS, id)
  if packed then return decode(id, packed) end
  jobs[id] = false
  return false
end

-- A job that must be there: something else refers to it.
local function get_job(id)
  return find_job(id) or error({err = 'CORRUPT nothing is kept of job ' .. id .. ', which is due or in line'})
end

-- Read many at once.
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
    fill(JOBS, id, job and encode(job))
  end
  touched = {}
end

-- Among equal times the entry decides, and fixed width makes bytes compare as numbers.
local function slip_of(job)
  return struct.pack('>I6', job.entry) .. job.id
end

-- 7 bytes hold (9 - priority) * PRIORITY + seq.
local PRIORITY = 281474976710656

local function score_of(job)
  return struct.pack('>I7', (9 - job.priority) * PRIORITY + job.seq)
end

-- Whether READY may not show it while it waits.
local function may_be_hidden(job)
  return job.key or job.value or job.due
end

local function drop_extra(job, flag, extra)
  if job[flag] then
    job[flag] = false
    fill(extra, job.id, false)
  end
end

local function keep_extra(job, flag, extra, value)
  job[flag] = true
  fill(extra, job.id, value)
end

-- The job as it is shown: the array that a Record is made of.
local function show_job(job)
  local spec = field_of(SPECS, job.id)
  if not spec then error({err = 'CORRUPT nothing is kept of the call of job ' .. job.id}) end
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

-- Timers: when time changes each job next.
--
-- The first of all is written in the book: a call looks for it only if a timer that was there was moved or taken out.

local earliest, soonest, moved

at_begin(function() earliest, soonest, moved = nil, nil, false end)

-- Let time change a job then that had no timer.
local function add_timer(job, at)
  place(TIMERS, slip_of(job), at)
  if not earliest or at < earliest then earliest = at end
end

local function move_timer(job, at)
  moved = true
  add_timer(job, at)
end

local function drop_timer(job)
  moved = true
  remove(TIMERS, slip_of(job))
end

-- That of a job that waits. Who sleeps until the next timer it was told of must hear of an earlier one.
local function set_timer(job)
  local at = job.due
  if job.expires and (not at or job.expires < at) then at = job.expires end
  if not at then return drop_timer(job) end
  move_timer(job, at)
  if not soonest or at < soonest then soonest = at end
end

local function note_first_timer()
  write_places(TIMERS)
  if moved then
    book.first = tonumber(call('ZRANGE', TIMERS, 0, 0, 'WITHSCORES')[2]) or false
  elseif earliest and (not book.first or earliest < book.first) then
    book.first = earliest
  end
  earliest, moved = nil, false
end

-- How long ended jobs are kept. Those that end in one call, and are kept for as long, are one member of ENDS: a sorted
-- set with one for each job costs a tenth of a drain. One that failed may be requeued, so it is a member of its own.

local keep_until, requeued, write_kept, take_over
do
  -- Entries and ids of those that end in this call, by until when they are kept.
  local together

  at_begin(function() together = {} end)

  local function alone(job)
    return pack(job.entry, job.id)
  end

  function keep_until(job, at)
    job.kept = at
    if job.state == FAILED then return place(ENDS, alone(job), at) end
    local own = together[at]
    if not own then
      own = {}
      together[at] = own
    end
    own[#own + 1] = job.entry
    own[#own + 1] = job.id
  end

  function requeued(job)
    remove(ENDS, alone(job))
    job.kept = nil
  end

  function write_kept()
    for at, slips in pairs(together) do
      for first = 1, #slips, PART do
        place(ENDS, pack(unpack(slips, first, math.min(first + PART - 1, #slips))), at)
      end
    end
    together = {}
  end

  -- Those of some members, by entry.
  local function jobs_of(members)
    local jobs = {}
    for _, member in ipairs(members) do
      local slips = {unpack_all(member)}
      for index = 1, #slips, 2 do
        jobs[#jobs + 1] = {entry = slips[index], id = slips[index + 1], member = member}
      end
    end
    table.sort(jobs, function(a, b) return a.entry < b.entry end)
    return jobs
  end

  -- Take out those of all members of one time, and add them to `ids`, up to `limit` of these. What is left of a member
  -- is kept.
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
    if rest[1] then together[tonumber(at)] = rest end
  end

  -- Take out the first whose time is over, by time and entry, so many at most; return their ids.
  function take_over(limit)
    local ids, index = {}, 1
    local over = call('ZRANGEBYSCORE', ENDS, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
    while index < #over and #ids < limit do
      local at, members = over[index + 1], {}
      while over[index + 1] == at do
        members[#members + 1] = over[index]
        index = index + 2
      end
      -- Of the last time there may be more than were read, and earlier ones among them.
      if index > #over and #over == 2 * limit then members = call('ZRANGEBYSCORE', ENDS, at, at) end
      take_until(at, members, ids, limit)
    end
    return ids
  end
end
