-- Put: batches of jobs enter the queue.

-- ---- put ----
--
-- Enter batches of jobs, each as a whole or not at all.
--
-- KEYS     all of the queue
-- ARGV     1 test clock or '' · 2 caller · 3 number · 4 tasks of the jobs · 5 sizes of the batches · 6 the channel to
--          notify of the ends of some jobs, or '' · 7 the ids of those
-- BLOBS    2… the jobs (msgpack: id, task, key, value, priority, delay, in line, expires, unique, retain, owner; then
--          payload and meta, which are not decoded)
-- returns  msgpack: whether the queue was made; by batch nil (all created), {'r', id, created, …}, {'c', id} (conflict)
--          or {'f', task, capacity, live, asked} (full). At maxmemory the server refuses the call before it begins.
do

-- The number of values of a job that are decoded, and the index in BLOBS of the first job.
local DECODED = 11
local FIRST = 2

-- Return a new job, with no entry yet.
local function new_job(blob)
  local _, id, task, key, value, priority, delay, in_line, expires, unique, retain, owner =
    cmsgpack.unpack_limit(blob, DECODED, 1)
  local due_at = delay > 0 and now + delay or nil
  return {
    id = id, task = task, key = key, value = value, priority = priority, spec_retain = retain, attempt = 0, crashes = 0,
    created_at = now, entry = 0, unique = unique, owner = owner, due_at = due_at, held_since = due_at and now,
    state = due_at and not in_line and SCHEDULED or WAITING, expires_at = expires and now + expires,
  }
end

-- Return the payload of a job, still encoded.
local function payload_of(blob)
  local start = cmsgpack.unpack_limit(blob, DECODED, 1) + 1
  local kind, length, width = string.byte(blob, start), nil, nil
  if kind == 0xc4 then width = 1 elseif kind == 0xc5 then width = 2 else width = 4 end
  length = struct.unpack('>I' .. width, blob, start + 1)
  return string.sub(blob, start, start + width + length)
end

local function enter(job, blob)
  job.entry = next_number()
  jobs[job.id] = job
  touch(job)
  set_field(SPECS, job.id, blob)
  set_score(ENTRIES, job.id, job.entry)
  state.accepted = state.accepted + 1
  if job.unique then set_field(UNIQUES, job.unique, job.id) end
  if job.due_at or job.expires_at then set_timer(job) end
  if job.state == SCHEDULED then count_jobs(SCHEDULED, 1) else arrive(job, job.entry) end
end

-- Return the reply 'full' if the capacity of a task ('' for the queue) does not hold `asked` more jobs; else nil.
local function refusal(task, asked)
  local gate = gate_of(task)
  if gate.capacity and gate.live + asked > gate.capacity then
    return pack({'f', task, gate.capacity, gate.live, asked})
  end
end

-- Return the reply 'full' for a batch, with the first capacity that it exceeds: the queue's, then the tasks' by name;
-- else nil.
local function batch_refusal(asked, total)
  if total == 0 then return nil end
  local found, first = refusal('', total), nil
  if found then return found end
  for task, count in pairs(asked) do
    local one = refusal(task, count)
    if one and (not first or is_less(task, first)) then found, first = one, task end
  end
  return found
end

-- Put a batch of one job, if neither its id nor a unique text can be in the way; return the reply, or nil if it is not
-- that simple. A hundred such batches cost a tenth less than by put_batch alone.
local function put_one(job, blob)
  if job.unique or find_job(job.id) then return nil end
  local refused = refusal('', 1) or refusal(job.task, 1)
  if refused then return refused end
  enter(job, blob)
  count_live(job.task, 1)
  return NIL
end

-- Enter the jobs BLOBS[first] to BLOBS[last], or none of them; return the reply.
local function put_batch(new_jobs, first, last)
  local reply = first == last and put_one(new_jobs[first], BLOBS[first])
  if reply then return reply end
  -- By id the jobs to enter, by unique text the id of its job, by task the number of jobs; and by index the id of the
  -- job that exists already.
  local fresh, texts, asked, existing, created = {}, {}, {}, {}, 0
  for at = first, last do
    local job = new_jobs[at]
    local id, unique = job.id, job.unique
    local same_id = fresh[id] or find_job(id)
    if same_id then
      local blob = fresh[id] and BLOBS[fresh[id].at] or field_of(SPECS, id)
      local is_readable, payload = pcall(payload_of, blob)
      if not is_readable or same_id.task ~= job.task or payload_of(BLOBS[at]) ~= payload then
        return pack({'c', id})
      end
    end
    existing[at] = same_id and id or unique and (holder_of(unique) or texts[unique]) or nil
    if not existing[at] then
      fresh[id], job.at = job, at
      if unique then texts[unique] = id end
      asked[job.task] = (asked[job.task] or 0) + 1
      created = created + 1
    end
  end
  local refused = batch_refusal(asked, created)
  if refused then return refused end
  for at = first, last do
    local job = new_jobs[at]
    if job.at then enter(job, BLOBS[at]) end
  end
  for task, count in pairs(asked) do count_live(task, count) end
  if created == last - first + 1 then return NIL end
  local receipts = {'r'}
  for at = first, last do
    receipts[#receipts + 1] = existing[at] or new_jobs[at].id
    receipts[#receipts + 1] = not existing[at]
  end
  return pack(receipts)
end

-- Return the new jobs of all batches, by index in BLOBS. Existing jobs with the same ids are read with one command: a
-- client coalesces many puts into one call, and each of them is a batch of its own.
local function decode_new_jobs()
  local new_jobs, ids = {}, {}
  for at = FIRST, #BLOBS do
    local job = new_job(BLOBS[at])
    new_jobs[at], ids[at - FIRST + 1] = job, job.id
  end
  read_jobs(ids)
  return new_jobs
end

-- Note the caller's channel for the ends of those jobs that this put created.
local function note_awaited(new_jobs)
  local is_created = {}
  for at = FIRST, #BLOBS do
    local id = new_jobs[at].id
    is_created[id] = is_created[id] or jobs[id] == new_jobs[at]
  end
  for _, id in ipairs(ARGV[7]) do
    if is_created[id] then
      set_field(AWAITED, id, ' ' .. ARGV[6])
      state.awaited = state.awaited + 1
    end
  end
end

verb('put', nil, 4, function()
  local repeated = recall('put', ARGV[2], ARGV[3])
  if repeated then return repeated end
  local made = state.schema == 0
  begin_change(ARGV[1], true)
  fire_timers()
  local new_jobs, replies, first = decode_new_jobs(), {}, FIRST
  for index, size in ipairs(ARGV[5]) do
    replies[index] = put_batch(new_jobs, first, first + size - 1)
    first = first + size
  end
  if ARGV[6] ~= '' then note_awaited(new_jobs) end
  -- The reply is stored before end_change, so that it is written in one command with that to a claim made ahead.
  local reply = array_head(2) .. pack(made) .. array_head(#replies) .. table.concat(replies)
  keep_reply('put', ARGV[2], ARGV[3], reply)
  end_change()
  return reply
end, {'put', 2})
end
