-- put: enter batches of jobs, each as a whole or not at all.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 sizes of the batches (msgpack) · 5… the jobs (msgpack: id, task,
--       key, value, priority, delay, in line, expires, unique, retain, owner; then payload and meta, never read here)
-- gives msgpack: whether the queue was made; by batch nil (all created), {'r', id, created, …}, {'c', id} (conflict) or
--       {'f', task, capacity, live, asked} (full). Refused by the server itself, before anything is done, at maxmemory.

local LAST_READ = 11

-- A job as it is put, and what it is kept as once it is entered.
local function read_spec(blob)
  local _, id, task, key, value, priority, delay, in_line, expires, unique, retain, owner =
    cmsgpack.unpack_limit(blob, LAST_READ, 1)
  return {
    id = id, task = task, key = key, value = value, priority = priority, asked = retain, state = WAITS, attempt = 0,
    crashes = 0, created = now, entry = 0, seq = nil, unique = unique, owner = owner,
    blob = blob, delay = delay, in_line = in_line, expires_in = expires,
  }
end

-- The payload in a job as it was sent, still encoded.
local function payload(blob)
  local start = cmsgpack.unpack_limit(blob, LAST_READ, 1) + 1
  local kind, length, width = string.byte(blob, start), nil, nil
  if kind == 0xc4 then width = 1 elseif kind == 0xc5 then width = 2 else width = 4 end
  length = struct.unpack('>I' .. width, blob, start + 1)
  return string.sub(blob, start, start + width + length)
end

-- Whether it is the same call of the same task.
local function is_same(spec, task, blob)
  return spec.task == task and payload(spec.blob) == payload(blob)
end

local function enter(job)
  job.entry = Book.next_number()
  jobs[job.id] = job
  Jobs.touch(job)
  Change.put_field(specs, job.id, job.blob)
  Change.place(entries, job.id, job.entry)
  book.accepted = book.accepted + 1
  if job.unique then Change.put_field(uniques, job.unique, job.id) end
  if job.delay > 0 then job.due, job.held = now + job.delay, now end
  if job.expires_in then job.expires = now + job.expires_in end
  if job.due or job.expires then Jobs.set_timer(job) end
  if job.due and not job.in_line then
    job.state = SCHEDULED
    Moves.count(SCHEDULED, 1)
  else
    Moves.arrive(job, job.entry)
  end
end

-- What a spec comes to: it is entered, or there already under this id, or refused.
local function place_of(spec, fresh, texts)
  local there = fresh[spec.id]
  if there then return spec.id, is_same(spec, there.task, there.blob) end
  there = Jobs.find(spec.id)
  if there then return spec.id, is_same(spec, there.task, Change.field(specs, spec.id)) end
  if spec.unique then
    local holder = Change.field(uniques, spec.unique) or texts[spec.unique]
    if holder then return holder, true end
    texts[spec.unique] = spec.id
  end
  return nil, true
end

local function refusal(task, asked)
  local gate = Gates.of(task)
  if gate.capacity and gate.live + asked > gate.capacity then
    return pack({'f', task, gate.capacity, gate.live, asked})
  end
end

-- The first capacity that does not hold them: the queue's, then the tasks' by name.
local function full(asked, total)
  if total == 0 then return nil end
  local found, first = refusal('', total), nil
  if found then return found end
  for task, count in pairs(asked) do
    local one = refusal(task, count)
    if one and (not first or Change.is_less(task, first)) then found, first = one, task end
  end
  return found
end

local function put_batch(blobs)
  local fresh, texts, order, asked, receipts, all_created = {}, {}, {}, {}, {'r'}, true
  local asked_for, ids = {}, {}
  for index, blob in ipairs(blobs) do
    asked_for[index] = read_spec(blob)
    ids[index] = asked_for[index].id
  end
  Jobs.read(ids)
  for _, spec in ipairs(asked_for) do
    local there, same = place_of(spec, fresh, texts)
    if not same then return pack({'c', spec.id}) end
    if there then
      all_created = false
    else
      fresh[spec.id], order[#order + 1] = spec, spec
      asked[spec.task] = (asked[spec.task] or 0) + 1
    end
    receipts[#receipts + 1] = there or spec.id
    receipts[#receipts + 1] = not there
  end
  local refused = full(asked, #order)
  if refused then return refused end
  for _, spec in ipairs(order) do enter(spec) end
  for task, count in pairs(asked) do Gates.count_live(task, count) end
  return all_created and NONE or pack(receipts)
end

local reply = Replies.recall('put', ARGV[2], ARGV[3])
if reply then return reply end
local made = book.schema == 0
Book.begin(ARGV[1], true)
Firing.fire()
local replies, next_blob = {}, 5
for index, size in ipairs(unpack_all(ARGV[4])) do
  local blobs = {}
  for number = 1, size do blobs[number] = ARGV[next_blob + number - 1] end
  next_blob = next_blob + size
  replies[index] = put_batch(blobs)
end
Ending.finish()
local told = pack(made) .. Change.array(#replies) .. table.concat(replies)
return Replies.keep_reply('put', ARGV[2], ARGV[3], Change.array(2) .. told)
