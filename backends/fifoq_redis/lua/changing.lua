-- What cancel, requeue and skip have in common: each job of a list is changed or not, and the reply says which.

local function changed_reply(job, changed, conflict)
  return array(3) .. pack(job and job.state, changed, conflict)
end

-- ARGV  1 test clock or '' · 2 ids
-- gives msgpack: by id its state or nil, whether it was changed, and the id of the job in its way
local function change_jobs(change)
  local ids, replies = ARGV[2], {}
  local there = begin(ARGV[1], false)
  if there then read_jobs(ids) end
  for index, id in ipairs(ids) do
    local job = there and find_job(id)
    if job then
      local changed, conflict = change(job)
      replies[index] = changed_reply(job, changed, conflict)
    else
      replies[index] = changed_reply(nil, false, nil)
    end
  end
  if there then end_change() end
  return array(#replies) .. table.concat(replies)
end
