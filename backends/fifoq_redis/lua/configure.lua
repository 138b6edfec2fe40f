-- configure: apply settings, in order. The queue is made if there is none.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 settings (msgpack: {kind, task ('' is the queue), key or nil, values or false}; kinds are
--       'declare', 'override', 'pause', 'resume'; values {limit, value limit, capacity, interval, burst}, false for none)
-- gives whether the queue was made, 1 or 0

-- O(values), if the width of those changed.
local function put_settings_in_force(gate)
  local before = gate.value_limit
  Gates.put_in_force(gate)
  Gates.change(gate)
  if gate.value_limit == before then return end
  Ready.write()
  for _, name in ipairs(call('HKEYS', VALUES)) do
    local task, value = string.match(name, '^(%Z+)%z(%Z+)$')
    if task == gate.task then Ready.value_of(task, value) end
  end
end

local function pause_key(key)
  if Lines.paused_since(key) then return end
  Change.put_field(paused_keys, key, now)
  any_paused = true
  local first = Change.first_of(lines, key)
  local head = first and Jobs.get(string.sub(first, #key + 8))
  if head and head.state == WAITS then Ready.withdraw(head) end
  Lines.face(key, true)
end

local function resume_key(key)
  if not Lines.paused_since(key) then return end
  Change.put_field(paused_keys, key, false)
  Lines.face(key, true)
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
    if key then pause_key(key) else Gates.change(gate).paused = true end
  end,
  resume = function(gate, key)
    if key then resume_key(key) else Gates.change(gate).paused = false end
  end,
}

local made = book.schema == 0
Book.begin(ARGV[1], true)
for _, setting in ipairs(unpack_all(ARGV[2])) do
  local kind, task, key, values = unpack(setting, 1, 4)
  KINDS[kind](Gates.of(task), key, values)
  Lines.face_all()
end
Ready.stir()
Ending.finish()
return made and 1 or 0
