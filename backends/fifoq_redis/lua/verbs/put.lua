-- The verb of producers: put.

do -- put
-- put: enter batches of jobs, each as a whole or not at all.
--
-- KEYS  all of the queue
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 their tasks · 5 sizes of the batches · 6 the channel that
--       is to be notified of some of their ends, or '' · 7 the ids of those
-- BLOBS 2… the jobs (msgpack: id, task, key, value, priority, delay, in line, expires, unique, retain, owner; then
--       payload and meta, never read here)
-- gives msgpack: whether the queue was made; by batch nil (all created), {'r', id, created, …}, {'c', id} (conflict) or
--       {'f', task, capacity, live, asked} (full). Refused by the server itself, before anything is done, at maxmemory.

local LAST_READ = 11
local FIRST = 2

-- Return the record of a new job.
local function new_job(blob)
  local _, id, task, key, value, priority, delay, in_line, expires, unique, retain, owner =
    cmsgpack.unpack_limit(blob, LAST_READ, 1)
  local due = delay > 0 and now + delay or nil
  return {
    id = id, task = task, key = key, value = value, priority = priority, asked = retain, attempt = 0, crashes = 0,
    created = now, entry = 0, unique = unique, owner = owner, due = due, held = due and now,
    state = due and not in_line and SCHEDULED or WAITS, expires = expires and now + expires,
  }
end

-- Return the payload of a job as it was sent, still encoded.
local function payload(blob)
  local start = cmsgpack.unpack_limit(blob, LAST_READ, 1) + 1
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
  queue.accepted = queue.accepted + 1
  if job.unique then set_field(UNIQUES, job.unique, job.id) end
  if job.due or job.expires then set_timer(job) end
  if job.state == SCHEDULED then count(SCHEDULED, 1) else arrive(job, job.entry) end
end

local function refusal(task, asked)
  local gate = gate_of(task)
  if gate.capacity and gate.live + asked > gate.capacity then
    return pack({'f', task, gate.capacity, gate.live, asked})
  end
end

-- Return the refusal by the first capacity that the jobs exceed: the queue's, then the tasks' by name; nil if they fit.
local function full(asked, total)
  if total == 0 then return nil end
  local found, first = refusal('', total), nil
  if found then return found end
  for task, number in pairs(asked) do
    local one = refusal(task, number)
    if one and (not first or is_less(task, first)) then found, first = one, task end
  end
  return found
end

-- Enter a batch of one job, if no id or unique text is in the way; return the reply. It saves a tenth for a hundred.
local function put_one(job, blob)
  if job.unique or find_job(job.id) then return nil end
  local refused = refusal('', 1) or refusal(job.task, 1)
  if refused then return refused end
  enter(job, blob)
  count_live(job.task, 1)
  return NONE
end

-- Enter the jobs of BLOBS[first] to BLOBS[last], or none of them; return the reply.
local function put_batch(entering, first, last)
  local one = first == last and put_one(entering[first], BLOBS[first])
  if one then return one end
  local fresh, texts, asked, others, created = {}, {}, {}, {}, 0
  for at = first, last do
    local job = entering[at]
    local id, unique = job.id, job.unique
    local there = fresh[id] or find_job(id)
    if there then
      local blob = fresh[id] and BLOBS[fresh[id].at] or field_of(SPECS, id)
      if there.task ~= job.task or payload(BLOBS[at]) ~= payload(blob) then return pack({'c', id}) end
    end
    others[at] = there and id or unique and (field_of(UNIQUES, unique) or texts[unique]) or nil
    if not others[at] then
      fresh[id], job.at = job, at
      if unique then texts[unique] = id end
      asked[job.task] = (asked[job.task] or 0) + 1
      created = created + 1
    end
  end
  local refused = full(asked, created)
  if refused then return refused end
  for at = first, last do
    local job = entering[at]
    if job.at then enter(job, BLOBS[at]) end
  end
  for task, number in pairs(asked) do count_live(task, number) end
  if created == last - first + 1 then return NONE end
  local receipts = {'r'}
  for at = first, last do
    receipts[#receipts + 1] = others[at] or entering[at].id
    receipts[#receipts + 1] = not others[at]
  end
  return pack(receipts)
end

-- Read all jobs of the call with one command: a hundred calls made together are as many batches.
local function new_jobs()
  local entering, ids = {}, {}
  for at = FIRST, #BLOBS do
    local job = new_job(BLOBS[at])
    entering[at], ids[at - FIRST + 1] = job, job.id
  end
  read_jobs(ids)
  return entering
end

-- Store the channel as a waiter for the ends of the given jobs that this put created.
local function await_new(entering)
  local is_entered = {}
  for at = FIRST, #BLOBS do
    local id = entering[at].id
    is_entered[id] = is_entered[id] or jobs[id] == entering[at]
  end
  for _, id in ipairs(ARGV[7]) do
    if is_entered[id] then
      set_field(AWAITED, id, ' ' .. ARGV[6])
      queue.awaited = queue.awaited + 1
    end
  end
end

verb('put', nil, 4, function()
  local reply = recall('put', ARGV[2], ARGV[3])
  if reply then return reply end
  local made = queue.schema == 0
  begin(ARGV[1], true)
  fire()
  local entering, replies, first = new_jobs(), {}, FIRST
  for index, size in ipairs(ARGV[5]) do
    replies[index] = put_batch(entering, first, first + size - 1)
    first = first + size
  end
  if ARGV[6] ~= '' then await_new(entering) end
  -- Stored now, it is written in one command with the reply to a claim made ahead.
  local reply_now = array(2) .. pack(made) .. array(#replies) .. table.concat(replies)
  keep_reply('put', ARGV[2], ARGV[3], reply_now)
  end_change()
  return reply_now
end, {'put', 2})
end
