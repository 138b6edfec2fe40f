-- The line of each key: its live jobs by seq. Only the first may be offered.
--
-- Who stands first is asked once, after all that a call does to a key: `face` collects the keys, `face_lines` asks.

local Lines = {}

local lines, blocked, paused_keys = Change.sorted(LINES), Change.sorted(BLOCKED), Change.hash(PAUSED)
local faces, any_paused, any_blocked = {}, nil, nil

function Lines.stand(job)
  return job.key .. '\0' .. Jobs.slip({entry = job.seq, id = job.id})
end

-- `departed`: the first may be a job that this call has not seen yet.
function Lines.face(key, departed)
  faces[key] = faces[key] or departed or false
end

function Lines.paused_since(key)
  if any_paused == nil then any_paused = call('HLEN', PAUSED) > 0 end
  return any_paused and tonumber(Change.field(paused_keys, key)) or nil
end

-- Why the first of a line may not be claimed, and since when; nil if it may, or only a lease or a gate is in the way.
function Lines.why_blocked(key, head)
  if head and head.halted then return 'halted', head.finished end
  local since = Lines.paused_since(key)
  if since then return 'paused', since end
  if head and head.due then return 'backing off', head.held end
end

function Lines.mark(key, head)
  if any_blocked == nil then any_blocked = call('EXISTS', BLOCKED) > 0 end
  local _, since = Lines.why_blocked(key, head)
  if since then
    Change.place(blocked, key, since)
    any_blocked = true
  elseif any_blocked then
    Change.remove(blocked, key)
  end
end

function Lines.may_run(job)
  return job.state == WAITS and not job.due and not (job.key and Lines.paused_since(job.key))
end

function Lines.heads_of_faces()
  local heads, unread = {}, {}
  for key, departed in pairs(faces) do
    local first = Change.first_of(lines, key)
    local id = first and string.sub(first, #key + 8)
    -- A job that stood first before, and that nothing was done to, is as it was.
    if not id or departed or jobs[id] then
      heads[key] = id or false
      if id then unread[#unread + 1] = id end
    end
  end
  Jobs.read(unread)
  return heads
end

function Lines.face_all()
  if not next(faces) then return end
  local heads = Lines.heads_of_faces()
  faces = {}
  for key, id in pairs(heads) do
    local head = id and Jobs.get(id)
    if head and Lines.may_run(head) then Ready.offer(head) end
    Lines.mark(key, head)
  end
end

function Lines.write()
  Change.write_sorted(lines)
  Change.write_sorted(blocked)
  Change.write_hash(paused_keys)
end
