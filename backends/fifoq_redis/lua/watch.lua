-- watch: the records of jobs that have ended; of the others, the end is told to a channel.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 ids · 2 the channel
-- gives msgpack: by id its record, or false if it has not ended, or nil if there is no such job

local function expect(id)
  local watchers = call('HGET', WATCHED, id) or ''
  if not string.find(' ' .. watchers .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
    book.watched = book.watched + call('HSET', WATCHED, id, watchers .. ' ' .. ARGV[2])
  end
  return pack(false)
end

verb('watch', 'allow-oom', nil, function()
  local ids, replies, before = ARGV[1], {}, book.watched
  read_jobs(ids)
  for index, id in ipairs(ids) do
    local job = find_job(id)
    replies[index] = not job and NONE or job.state >= SUCCEEDED and show_job(job) or expect(id)
  end
  if book.watched > before then
    write_book()
    write_all()
  end
  return array(#replies) .. table.concat(replies)
end)
