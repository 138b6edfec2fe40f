-- How long ended jobs are kept. Those that end in one call, and are kept for as long, are one member of ENDS: a sorted
-- set with one for each job costs a tenth of a drain. One that failed may be requeued, so it is a member of its own.

local keep_until, requeued, write_kept, take_over
do
  -- Entries and ids of those that end in this call, by until when they are kept.
  local together

  at_begin(function() together = {} end)

  local function alone(job)
    return pack(job.entry, job.id)
  end

  function keep_until(job, at)
    job.kept = at
    if job.state == FAILED then return place(ENDS, alone(job), at) end
    local own = together[at]
    if not own then
      own = {}
      together[at] = own
    end
    own[#own + 1] = job.entry
    own[#own + 1] = job.id
  end

  function requeued(job)
    remove(ENDS, alone(job))
    job.kept = nil
  end

  function write_kept()
    for at, slips in pairs(together) do
      for first = 1, #slips, PART do
        place(ENDS, pack(unpack(slips, first, math.min(first + PART - 1, #slips))), at)
      end
    end
    together = {}
  end

  -- Those of some members, by entry.
  local function jobs_of(members)
    local jobs = {}
    for _, member in ipairs(members) do
      local slips = {unpack_all(member)}
      for index = 1, #slips, 2 do
        jobs[#jobs + 1] = {entry = slips[index], id = slips[index + 1], member = member}
      end
    end
    table.sort(jobs, function(a, b) return a.entry < b.entry end)
    return jobs
  end

  -- Take out those of all members of one time, and add them to `ids`, up to `limit` of these. What is left of a member
  -- is kept.
  local function take_until(at, members, ids, limit)
    local opened, rest = {}, {}
    for _, job in ipairs(jobs_of(members)) do
      if #ids < limit then
        ids[#ids + 1] = job.id
        opened[job.member] = true
        remove(ENDS, job.member)
      elseif opened[job.member] then
        rest[#rest + 1] = job.entry
        rest[#rest + 1] = job.id
      end
    end
    if rest[1] then together[tonumber(at)] = rest end
  end

  -- Take out the first whose time is over, by time and entry, so many at most; return their ids.
  function take_over(limit)
    local ids, index = {}, 1
    local over = call('ZRANGEBYSCORE', ENDS, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
    while index < #over and #ids < limit do
      local at, members = over[index + 1], {}
      while over[index + 1] == at do
        members[#members + 1] = over[index]
        index = index + 2
      end
      -- Of the last time there may be more than were read, and earlier ones among them.
      if index > #over and #over == 2 * limit then members = call('ZRANGEBYSCORE', ENDS, at, at) end
      take_until(at, members, ids, limit)
    end
    return ids
  end
end
