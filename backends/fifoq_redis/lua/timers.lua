-- Timers: when time changes each job next.
--
-- The first of all is written in the book: a call looks for it only if a timer that was there was moved or taken out.

local earliest, soonest, moved

at_begin(function() earliest, soonest, moved = nil, nil, false end)

-- Let time change a job then that had no timer.
local function add_timer(job, at)
  place(TIMERS, slip_of(job), at)
  if not earliest or at < earliest then earliest = at end
end

local function move_timer(job, at)
  moved = true
  add_timer(job, at)
end

local function drop_timer(job)
  moved = true
  remove(TIMERS, slip_of(job))
end

-- That of a job that waits. Who sleeps until the next timer it was told of must hear of an earlier one.
local function set_timer(job)
  local at = job.due
  if job.expires and (not at or job.expires < at) then at = job.expires end
  if not at then return drop_timer(job) end
  move_timer(job, at)
  if not soonest or at < soonest then soonest = at end
end

local function note_first_timer()
  write_places(TIMERS)
  if moved then
    book.first = tonumber(call('ZRANGE', TIMERS, 0, 0, 'WITHSCORES')[2]) or false
  elseif earliest and (not book.first or earliest < book.first) then
    book.first = earliest
  end
  earliest, moved = nil, false
end
