-- configure: apply settings, in order. The queue is made if there is none.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 settings ({kind, task ('' is the queue), key or nil, values or false}; kinds are
--       'declare', 'override', 'pause', 'resume'; values {limit, value limit, capacity, interval, burst}, false for
--       none)
-- gives whether the queue was made, 1 or 0

-- O(values), if the width of those changed.
local function put_settings_in_force(gate)
  local before = gate.value_limit
  put_in_force(gate)
  gate.changed = true
  if gate.value_limit == before then return end
  show_values()
  write_fields(VALUES)
  for _, name in ipairs(call('HKEYS', VALUES)) do
    local task, value = string.match(name, '^(%Z+)%z(%Z+)$')
    if task == gate.task then value_of(task, value) end
  end
end

local function pause_key(key)
  if paused_since(key) then return end
  fill(PAUSED, key, now)
  any_paused = true
  local id = head_of(key)
  local head = id and get_job(id)
  if head and head.state == WAITS then withdraw(head) end
  face(key, true)
end

local function resume_key(key)
  if not paused_since(key) then return end
  fill(PAUSED, key, false)
  face(key, true)
end

local KINDS = {
  declare = function(gate, _, values)
    gate.declared = values
    put_settings_in_force(gate)
  end,
  override = function(gate, _, values)
    gate.override = values
    put_settings_in_force(gate)
  end,
  pause = function(gate, key)
    if key then pause_key(key) else gate.paused, gate.changed = true, true end
  end,
  resume = function(gate, key)
    if key then resume_key(key) else gate.paused, gate.changed = false, true end
  end,
}

verb('configure', 'allow-oom', nil, function()
  local made = book.schema == 0
  begin(ARGV[1], true)
  for _, setting in ipairs(ARGV[2]) do
    local kind, task, key, values = unpack(setting, 1, 4)
    KINDS[kind](gate_of(task), key, values)
    face_all()
  end
  stir()
  end_change()
  return made and 1 or 0
end)
