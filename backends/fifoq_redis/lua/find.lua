-- find: a page of records, in order of entry. Reads at most MAX_PAGE of them.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 cursor · 2 how many at most · 3 filter (msgpack: {state, task, key, owner}, false for any)
-- gives msgpack: the records, and the cursor behind them, or nil if there is no more

local cursor, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local state, task, key, owner = unpack(unpack_all(ARGV[3]))

local function matches(job)
  return (state == false or job.state == state) and (not task or job.task == task)
    and (not key or job.key == key) and (not owner or job.owner == owner)
end

local function page_behind(number, count)
  return call('ZRANGEBYSCORE', ENTRIES, '(' .. string.format('%.0f', number), '+inf', 'LIMIT', 0, count)
end

local function find()
  local records, looked = {}, 0
  while true do
    local ids = page_behind(cursor, 100)
    Jobs.read(ids)
    for _, id in ipairs(ids) do
      if looked == MAX_PAGE or #records == limit then return records, cursor end
      local job = Jobs.get(id)
      looked, cursor = looked + 1, job.entry
      if matches(job) then records[#records + 1] = Jobs.show(job) end
    end
    if #ids < 100 then return records, nil end
  end
end

local records, behind = find()
return Change.array(2) .. Change.array(#records) .. table.concat(records) .. pack(behind)
