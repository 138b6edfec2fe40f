-- watch: the records of jobs that have ended; of the others, the end is told to a channel.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 ids (msgpack) · 2 the channel
-- gives msgpack: by id its record, or false if it has not ended, or nil if there is no such job

local function expect(id)
  local watchers = call('HGET', WATCHED, id) or ''
  if not string.find(' ' .. watchers .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
    call('HSET', WATCHED, id, watchers .. ' ' .. ARGV[2])
  end
  return pack(false)
end

verb('watch', 'allow-oom', function()
  local ids, replies = unpack_all(ARGV[1]), {}
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = find_job(id)
    replies[index] = not job and NONE or job.state >= SUCCEEDED and show_job(job) or expect(id)
  end
  return array(#replies) .. table.concat(replies)
end)
