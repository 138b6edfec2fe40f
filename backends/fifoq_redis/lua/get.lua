-- get: the records of jobs.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 ids (msgpack)
-- gives msgpack: by id its record (jobs.lua, show_job), or nil

local ids, records = unpack_all(ARGV[1]), {}
Jobs.read(ids)
for index, id in ipairs(ids) do
  local job = Jobs.find(id)
  records[index] = job and Jobs.show(job) or NONE
end
return Change.array(#records) .. table.concat(records)
