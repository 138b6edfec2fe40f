-- extend: hold leases for longer, and store progress.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 extensions (msgpack: {id, token, lease, has progress}) · 3… the progress of those
-- gives one character for each: h (held), c (cancel requested), l (lost)

local next_blob = 3

local function extend(extension)
  local id, token, lease, has_progress = unpack(extension)
  local blob, job = nil, Jobs.find(id)
  if has_progress then blob, next_blob = ARGV[next_blob], next_blob + 1 end
  if not job or job.token ~= token then return 'l' end
  job.lease = now + lease
  Change.place(timers, Jobs.slip(job), job.lease)
  if blob then Jobs.keep_extra(job, 'has_progress', progress, blob) end
  Jobs.touch(job)
  return job.cancel and 'c' or 'h'
end

local extensions, ids, holds = unpack_all(ARGV[2]), {}, {}
for index, extension in ipairs(extensions) do ids[index] = extension[1] end
if not Book.begin(ARGV[1], false) then return string.rep('l', #extensions) end
Jobs.read(ids)
for index, extension in ipairs(extensions) do holds[index] = extend(extension) end
Ending.finish()
return table.concat(holds)
