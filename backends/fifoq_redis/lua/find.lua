-- find: a page of records, in order of entry. Reads at most MAX_PAGE of them.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 cursor · 2 how many at most · 3 filter ({state, task, key, owner}, false for any)
-- gives msgpack: the records, and the cursor behind them, or nil if there is no more

local function matches(job, filter)
  local state, task, key, owner = unpack(filter)
  return (state == false or job.state == state) and (not task or job.task == task)
    and (not key or job.key == key) and (not owner or job.owner == owner)
end

local function page_behind(number, count)
  return call('ZRANGEBYSCORE', ENTRIES, '(' .. string.format('%.0f', number), '+inf', 'LIMIT', 0, count)
end

local function find(cursor, limit, filter)
  local records, looked = {}, 0
  while true do
    local ids = page_behind(cursor, 100)
    read_jobs(ids)
    for _, id in ipairs(ids) do
      if looked == MAX_PAGE or #records == limit then return records, cursor end
      local job = get_job(id)
      looked, cursor = looked + 1, job.entry
      if matches(job, filter) then records[#records + 1] = show_job(job) end
    end
    if #ids < 100 then return records, nil end
  end
end

verb('find', 'no-writes', nil, function()
  local records, behind = find(ARGV[1], ARGV[2], ARGV[3])
  return array(2) .. array(#records) .. table.concat(records) .. pack(behind)
end)
