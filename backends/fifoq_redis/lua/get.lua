-- get: the records of jobs.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 ids
-- gives msgpack: by id its record (jobs.lua, show_job), or nil

verb('get', 'no-writes', nil, function()
  local ids, records = ARGV[1], {}
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = find_job(id)
    records[index] = job and show_job(job) or NONE
  end
  return array(#records) .. table.concat(records)
end)
