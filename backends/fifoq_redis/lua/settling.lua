-- How leases end, in order.

local function must_keep(job, retain)
  return job.asked > 0 or retain > 0 or book.watched > 0
end

-- To its place, or, if it was asked to cancel, to its end.
local function back(job, after, retain)
  if job.cancel then finish(job, CANCELLED, retain) else put_back(job, after) end
end

local function end_well(job, retain, result)
  if must_keep(job, retain) then job.result = result end
  drop_extra(job, 'has_error', ERRORS)
  job.reason = nil
  finish(job, SUCCEEDED, retain)
end

-- By kind, what else may become of a job. `detail` is what settle.lua says.
local function end_otherwise(job, kind, retain, detail, failure)
  if failure then keep_extra(job, 'has_error', ERRORS, failure) end
  if kind == 'f' then
    job.reason, job.halted = nil, detail and job.key ~= nil
    finish(job, FAILED, retain)
  elseif kind == 'c' then
    if not job.cancel then job.reason = detail end
    finish(job, CANCELLED, retain)
  elseif kind == 'r' then
    back(job, detail, retain)
  else
    job.attempt = job.attempt - 1
    back(job, detail, retain)
  end
end

-- Apply settlements, whose results and errors are the blobs; return the reply.
local function settle_all(settlements)
  local ids, states, blob_at = {}, {}, 1
  for index, settlement in ipairs(settlements) do ids[index] = settlement[1] end
  read_jobs(ids)
  for index, settlement in ipairs(settlements) do
    local _, token, kind, retain, detail = unpack(settlement, 1, 5)
    local job, blob = find_job(ids[index]), nil
    if kind == 's' or kind == 'f' or kind == 'r' then
      blob_at = blob_at + 1
      blob = BLOBS[blob_at]
    end
    if not job or job.token ~= token then
      states[index] = NONE
    else
      if kind == 's' then end_well(job, retain, blob) else end_otherwise(job, kind, retain, detail, blob) end
      states[index] = string.char(job.state)
    end
  end
  return array(#states) .. table.concat(states)
end
