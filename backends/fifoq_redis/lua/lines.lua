-- The line of each key: its live jobs by seq. Only the first may be offered.
--
-- Who stands first is asked once, after all that a call does to a key: `face` collects the keys, `face_all` asks.

local faces, any_paused, any_blocked

at_begin(function() faces, any_paused, any_blocked = {}, nil, nil end)

local function standing(job)
  return job.key .. '\0' .. struct.pack('>I6', job.seq) .. job.id
end

-- The id of who stands first in the line of a key; nil if nobody does.
local function head_of(key)
  local first = first_of(LINES, key, 1)[1]
  return first and string.sub(first, #key + 8)
end

-- `departed`: the first may be a job that this call has not seen yet.
local function face(key, departed)
  faces[key] = faces[key] or departed or false
end

local function paused_since(key)
  if any_paused == nil then any_paused = call('HLEN', PAUSED) > 0 end
  return any_paused and tonumber(field_of(PAUSED, key)) or nil
end

-- Why the first of a line may not be claimed, and since when; nil if it may, or only a lease or a gate is in the way.
local function why_blocked(key, head)
  if head and head.halted then return 'halted', head.finished end
  local since = paused_since(key)
  if since then return 'paused', since end
  if head and head.due then return 'backing off', head.held end
end

local function may_run(job)
  return job.state == WAITS and not job.due and not (job.key and paused_since(job.key))
end

local function mark(key, head)
  if any_blocked == nil then any_blocked = call('EXISTS', BLOCKED) > 0 end
  local _, since = why_blocked(key, head)
  if since then
    place(BLOCKED, key, since)
    any_blocked = true
  elseif any_blocked then
    remove(BLOCKED, key)
  end
end

local function heads_of_faces()
  local heads, unread = {}, {}
  for key, departed in pairs(faces) do
    local id = head_of(key)
    -- A job that stood first before, and that nothing was done to, is as it was.
    if not id or departed or jobs[id] then
      heads[key] = id or false
      if id then unread[#unread + 1] = id end
    end
  end
  read_jobs(unread)
  return heads
end

local function face_all()
  if not next(faces) then return end
  local heads = heads_of_faces()
  faces = {}
  for key, id in pairs(heads) do
    local head = id and get_job(id)
    if head and may_run(head) then offer(head) end
    mark(key, head)
  end
end
