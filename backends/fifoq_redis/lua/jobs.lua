-- Jobs: read once, changed here, written at the end. What was put, and what was returned, is kept beside and unread.

local Jobs = {}

local jobs, touched = {}, {}
local specs, results, errors = Change.hash(SPECS), Change.hash(RESULTS), Change.hash(ERRORS)
local progress, uniques = Change.hash(PROGRESS), Change.hash(UNIQUES)
local entries, waiting = Change.sorted(ENTRIES), Change.sorted(WAITING)
local timers, ends = Change.sorted(TIMERS), Change.sorted(ENDS)

-- Most jobs are plain: the second half of the record is there only if anything in it says something.
function Jobs.decode(id, packed)
  local state, priority, entry, seq, attempt, created, started, lease, asked, task, key, value, token, worker, is_plain,
        crashes, due, held, expires, finished, kept, retain, cancel, halted, has_result, has_error, has_progress,
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
  job.has_result, job.has_error, job.has_progress = has_result, has_error, has_progress
  return job
end

local function is_plain(job)
  return not (job.finished or job.has_error or job.has_progress or job.unique or job.due or job.expires or job.owner
    or job.cancel or job.reason or job.halted or job.has_result or job.crashes > 0)
end

function Jobs.encode(job)
  local plain = is_plain(job)
  local first = pack(
    job.state, job.priority, job.entry, job.seq, job.attempt, job.created, job.started, job.lease, job.asked, job.task,
    job.key, job.value, job.token, job.worker, plain
  )
  if plain then return first end
  return first .. pack(
    job.crashes, job.due, job.held, job.expires, job.finished, job.kept, job.retain, job.cancel, job.halted,
    job.has_result, job.has_error, job.has_progress, job.unique, job.owner, job.reason
  )
end

-- The job with that id as it will be, false for none.
function Jobs.find(id)
  local job = jobs[id]
  if job ~= nil then return job end
  local packed = call('HGET', JOBS, id)
  if packed then return Jobs.decode(id, packed) end
  jobs[id] = false
  return false
end

-- A job that must be there: something else refers to it.
function Jobs.get(id)
  return Jobs.find(id) or error({err = 'CORRUPT nothing is kept of job ' .. id .. ', which is due or in line'})
end

-- Read many at once.
function Jobs.read(ids)
  local missing, count = {}, 0
  for _, id in ipairs(ids) do
    if jobs[id] == nil then
      count = count + 1
      missing[count] = id
    end
  end
  if count == 0 then return end
  for index, packed in ipairs(Change.read_fields(JOBS, missing)) do
    if packed then Jobs.decode(missing[index], packed) else jobs[missing[index]] = false end
  end
end

function Jobs.touch(job)
  touched[job.id] = true
end

function Jobs.write()
  local records = Change.hash(JOBS)
  for id in pairs(touched) do
    local job = jobs[id]
    Change.put_field(records, id, job and Jobs.encode(job))
  end
  touched = {}
  Change.write_hash(records)
  Change.write_hash(specs)
  Change.write_hash(results)
  Change.write_hash(errors)
  Change.write_hash(progress)
  Change.write_hash(uniques)
  Change.write_sorted(entries)
  Change.write_sorted(waiting)
  Change.write_sorted(timers)
  Change.write_sorted(ends)
end

-- Among equal times the entry decides, and fixed width makes bytes compare as numbers.
function Jobs.slip(job)
  return struct.pack('>I6', job.entry) .. job.id
end

-- 7 bytes hold (9 - priority) * 2^48 + seq.
function Jobs.score_of(job)
  return struct.pack('>I7', (9 - job.priority) * 281474976710656 + job.seq)
end

local soonest

-- When time changes the job next. Who sleeps until the next timer it was told of must hear of an earlier one.
function Jobs.set_timer(job)
  local at = job.due
  if job.expires and (not at or job.expires < at) then at = job.expires end
  if at then
    Change.place(timers, Jobs.slip(job), at)
    if not soonest or at < soonest then soonest = at end
  else
    Change.remove(timers, Jobs.slip(job))
  end
end

function Jobs.next_timer()
  Change.write_sorted(timers)
  return tonumber(call('ZRANGE', TIMERS, 0, 0, 'WITHSCORES')[2])
end

function Jobs.drop_extra(job, flag, extra)
  if job[flag] then
    job[flag] = false
    Change.put_field(extra, job.id, false)
  end
end

function Jobs.keep_extra(job, flag, extra, value)
  job[flag] = true
  Change.put_field(extra, job.id, value)
end

local function extra(job, flag, fields)
  return job[flag] and Change.field(fields, job.id) or NONE
end

-- The job as it is shown: the array that a Record is made of.
function Jobs.show(job)
  local spec = Change.field(specs, job.id)
  if not spec then error({err = 'CORRUPT nothing is kept of the call of job ' .. job.id}) end
  return table.concat({
    Change.array(17), spec,
    pack(job.entry, job.seq, job.state, job.attempt, job.crashes, job.created, job.due, job.started, job.finished,
         job.worker),
    extra(job, 'has_result', results), extra(job, 'has_error', errors), extra(job, 'has_progress', progress),
    pack(job.reason, job.cancel or false, job.halted or false),
  })
end
