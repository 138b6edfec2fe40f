-- What cancel, requeue and skip have in common: each job of a list is changed or not, and the reply says which.

local Changing = {}

function Changing.changed_reply(job, changed, conflict)
  return Change.array(3) .. pack(job and job.state, changed, conflict)
end

-- ARGV  1 test clock or '' · 2 ids (msgpack)
-- gives msgpack: by id its state or nil, whether it was changed, and the id of the job in its way
function Changing.change_jobs(change)
  local ids, replies = unpack_all(ARGV[2]), {}
  local there = Book.begin(ARGV[1], false)
  if there then Jobs.read(ids) end
  for index, id in ipairs(ids) do
    local job = there and Jobs.find(id)
    if job then
      local changed, conflict = change(job)
      replies[index] = Changing.changed_reply(job, changed, conflict)
    else
      replies[index] = Changing.changed_reply(nil, false, nil)
    end
  end
  if there then Ending.finish() end
  return Change.array(#replies) .. table.concat(replies)
end
