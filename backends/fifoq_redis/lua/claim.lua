-- claim: lease up to n jobs, n times the best claimable one of the known tasks.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 worker · 5 n · 6 lease · 7 tasks (msgpack) · 8 the channel of who
--       waits for more, or '' · 9 the tasks between zero bytes
-- gives msgpack: the leases (each the job as it was sent, fence, entry, seq, attempt, crashes, created), the time, the
--       time until a timer or a token, or nil, and the version of the queue

local leases, leased = {}, {}
local prefix = ARGV[2] .. '.' .. ARGV[3] .. '.'

local function score_in(member, start)
  return (struct.unpack('>I7', member, start))
end

local function lease(job)
  book.fence = book.fence + 1
  job.state, job.token, job.worker = RUNNING, prefix .. book.fence, ARGV[4]
  job.started, job.lease, job.attempt = now, now + ARGV[6], job.attempt + 1
  job.expires = nil
  Jobs.drop_extra(job, 'has_progress', progress)
  Change.place(timers, Jobs.slip(job), job.lease)
  Change.remove(waiting, job.id)
  Jobs.touch(job)
  leases[#leases + 1] = pack(book.fence, job.entry, job.seq, job.attempt, job.crashes, job.created)
  leased[#leased + 1] = job.id
end

-- The value's gate lets this job through, and shows its next one; returns the score of that.
local function admit(job, member)
  local value = Ready.value_of(job.task, job.value)
  value.running = value.running + 1
  value.shown = false
  Change.remove(offers, job.task .. '\0' .. job.value .. '\0' .. string.sub(member, #job.task + 2))
  local shown = Ready.show_value(value)
  return shown and score_in(shown, 1)
end

-- Up to `most` members of a task in READY, the first first.
local function look_in(task, most)
  Change.write_sorted(ready)
  return call('ZRANGEBYLEX', READY, '[' .. task .. '\0', '(' .. task .. '\1', 'LIMIT', 0, most)
end

-- A task's gate that is open, those that stand first behind it, and the score of the first; nil if nobody may pass.
local function door(task, n)
  local gate = Gates.of(task)
  local most = Gates.room(gate, n)
  if most == 0 then return nil end
  local members = look_in(task, math.min(most, gate.step or most))
  return members[1] and {gate = gate, members = members, score = score_in(members[1], #task + 2)}
end

local function ids_in(members, start)
  local ids = {}
  for index, member in ipairs(members) do ids[index] = string.sub(member, start) end
  return ids
end

-- Lease up to `most` jobs behind a door while their scores are below `bound`; return how many.
local function lease_run(one, most, bound)
  local gate, members, start = one.gate, one.members, #one.gate.task + 2
  local ids, taken = ids_in(members, start + 7), 0
  Jobs.read(ids)
  for index, id in ipairs(ids) do
    if taken == most or score_in(members[index], start) >= bound then break end
    local job = Jobs.get(id)
    Change.remove(ready, members[index])
    lease(job)
    taken = taken + 1
    if job.value then
      bound = math.min(bound, admit(job, members[index]) or bound)
      -- What comes next is known only now: read no more at once than can be used.
      gate.step = math.max(4, 2 * taken)
    end
  end
  Gates.take(gate, taken)
  Gates.take(Gates.of(''), taken)
  return taken
end

-- The door with the smallest score, and the smallest score of all others.
local function best_of(doors)
  local best, bound = nil, math.huge
  for _, one in pairs(doors) do
    if not best or one.score < best.score then
      best, bound = one, best and best.score or math.huge
    elseif one.score < bound then
      bound = one.score
    end
  end
  return best, bound
end

-- One of many tasks gives few of them: each is asked for its first, and then for more and more.
local function claim(tasks, n)
  local left, doors = Gates.room(Gates.of(''), n), {}
  if left == 0 then return end
  for _, task in ipairs(tasks) do
    if #tasks > 1 then Gates.of(task).step = 1 end
    doors[task] = door(task, left)
  end
  while left > 0 do
    local best, bound = best_of(doors)
    if not best then return end
    left = left - lease_run(best, left, bound)
    best.gate.step = best.gate.step and 2 * best.gate.step
    doors[best.gate.task] = left > 0 and door(best.gate.task, left) or nil
  end
end

-- Early rather than exact, never late.
local function time_to_wait(tasks)
  local at = Jobs.next_timer()
  tasks[#tasks + 1] = ''
  for _, task in ipairs(tasks) do
    local opens = Gates.opens_at(Gates.of(task))
    if opens and (not at or opens < at) then at = opens end
  end
  return at and math.max(0, at - now)
end

local function show_leases()
  local parts, head = {Change.array(#leases)}, Change.array(7)
  for index, blob in ipairs(Change.read_fields(SPECS, leased)) do
    parts[3 * index - 1] = head
    parts[3 * index] = blob or error({err = 'CORRUPT nothing is kept of the call of job ' .. leased[index]})
    parts[3 * index + 1] = leases[index]
  end
  return table.concat(parts)
end

-- Who got all that it asked for has no room for more. What others may claim, others are told of.
local function wait_for_more(tasks, n)
  if #leases < n then
    for _, task in ipairs(tasks) do offered[task] = nil end
  end
  Ending.finish()
  if ARGV[8] == '' then return end
  if #leases < n then
    call('ZADD', IDLE, now, ARGV[8])
    call('HSET', KNOWS, ARGV[8], ARGV[9])
  else
    Ending.stop_listening(ARGV[8])
  end
end

local reply = Replies.recall('claim', ARGV[2], ARGV[3])
if reply then return reply end
local tasks, n = unpack_all(ARGV[7]), tonumber(ARGV[5])
if not Book.begin(ARGV[1], false) then
  return Replies.keep_reply('claim', ARGV[2], ARGV[3], Change.array(4) .. Change.array(0) .. pack(0, nil, 0))
end
Firing.fire()
Lines.face_all()
Ready.show_values()
Gates.read_all(tasks)
claim(tasks, n)
wait_for_more(tasks, n)
local claimed = show_leases() .. pack(now, time_to_wait(tasks), book.version)
return Replies.keep_reply('claim', ARGV[2], ARGV[3], Change.array(4) .. claimed)
