-- extend: hold leases for longer, and store progress.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 extensions ({id, token, lease, has progress})
-- BLOBS 2… the progress of those
-- gives one character for each: h (held), c (cancel requested), l (lost)

local next_blob

local function extend(extension)
  local id, token, lease, has_progress = unpack(extension)
  local blob, job = nil, find_job(id)
  if has_progress then blob, next_blob = BLOBS[next_blob], next_blob + 1 end
  if not job or job.token ~= token then return 'l' end
  job.lease = now + lease
  move_timer(job, job.lease)
  if blob then keep_extra(job, 'has_progress', PROGRESS, blob) end
  touch(job)
  return job.cancel and 'c' or 'h'
end

verb('extend', 'allow-oom', nil, function()
  next_blob = 2
  local extensions, ids, holds = ARGV[2], {}, {}
  for index, extension in ipairs(extensions) do ids[index] = extension[1] end
  if not begin(ARGV[1], false) then return string.rep('l', #extensions) end
  read_jobs(ids)
  for index, extension in ipairs(extensions) do holds[index] = extend(extension) end
  end_change()
  return table.concat(holds)
end)
