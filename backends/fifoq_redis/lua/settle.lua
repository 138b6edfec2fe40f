-- settle: end leases, in order.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or '' · 2 caller · 3 number · 4 settlements (msgpack: {id, token, kind, retain, and for 'f' halt,
--       for 'c' the reason, for 'r' and 'l' after}) · 5… the results and errors of kinds 's', 'f' and 'r', in order
-- gives msgpack: by settlement the state of the job now, or nil if the lease was lost

local next_blob = 5

local function take_blob()
  next_blob = next_blob + 1
  return ARGV[next_blob - 1]
end

local function must_keep(job, retain)
  if any_watched == nil then any_watched = call('EXISTS', WATCHED) > 0 end
  return any_watched or job.asked > 0 or retain > 0
end

-- To its place, or, if it was asked to cancel, to its end.
local function back(job, after, retain)
  if job.cancel then Moves.finish(job, CANCELLED, retain) else Moves.put_back(job, after) end
end

local OUTCOMES = {
  s = function(job, retain, _, result)
    if must_keep(job, retain) then Jobs.keep_extra(job, 'has_result', results, result) end
    Jobs.drop_extra(job, 'has_error', errors)
    job.reason = nil
    Moves.finish(job, SUCCEEDED, retain)
  end,
  f = function(job, retain, halt, failure)
    Jobs.keep_extra(job, 'has_error', errors, failure)
    job.reason, job.halted = nil, halt and job.key ~= nil
    Moves.finish(job, FAILED, retain)
  end,
  c = function(job, retain, reason)
    if not job.cancel then job.reason = reason end
    Moves.finish(job, CANCELLED, retain)
  end,
  r = function(job, retain, after, failure)
    Jobs.keep_extra(job, 'has_error', errors, failure)
    back(job, after, retain)
  end,
  l = function(job, retain, after)
    job.attempt = job.attempt - 1
    back(job, after, retain)
  end,
}
local HAS_BLOB = {s = true, f = true, r = true}

local function settle(settlement)
  local id, token, kind, retain, detail = unpack(settlement, 1, 5)
  local blob, job = HAS_BLOB[kind] and take_blob(), Jobs.find(id)
  if not job or job.token ~= token then return NONE end
  OUTCOMES[kind](job, retain, detail, blob)
  return pack(job.state)
end

local reply = Replies.recall('settle', ARGV[2], ARGV[3])
if reply then return reply end
local settlements, ids, states = unpack_all(ARGV[4]), {}, {}
for index, settlement in ipairs(settlements) do ids[index] = settlement[1] end
if Book.begin(ARGV[1], false) then
  Jobs.read(ids)
  for index, settlement in ipairs(settlements) do states[index] = settle(settlement) end
  Ending.finish()
else
  for index in ipairs(settlements) do states[index] = NONE end
end
return Replies.keep_reply('settle', ARGV[2], ARGV[3], Change.array(#states) .. table.concat(states))
