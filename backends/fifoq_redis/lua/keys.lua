-- The keys of one queue, all of one slot, in the order in which every call is given them.
--
-- None is made up of what a job says: a task, a key or a value is part of a member or a field, so that each call can
-- declare all that it may touch.

local BOOK,     -- hash: COUNTERS -> those of the queue, packed; task ('' is the queue) -> its gate, packed;
                -- zero byte, verb, caller -> number of its last call, when CALLERS was told of it, and the reply
      JOBS,     -- hash: id -> what has become of the job, packed, and what it returned, as it was sent
      SPECS,    -- hash: id -> what its put said, as it was sent, and as it is shown
      ERRORS,   -- hash: id -> the error of its last attempt that went wrong
      PROGRESS, -- hash: id -> how far it says it is
      ENTRIES,  -- sorted set: id, by entry
      WAITING,  -- sorted set: id of each waiting job that READY may not show, by seq
      READY,    -- sorted set: task, score, id of what may be claimed as soon as its task and its queue let it
      OFFERS,   -- sorted set: task, value, score, id of each offered job that has a value
      VALUES,   -- hash: task, value -> how many run at that gate, and which offer is shown in READY
      LINES,    -- sorted set: key, seq, id of each live job that has a key
      TIMERS,   -- sorted set: entry, id, by when time changes the job next
      ENDS,     -- sorted set: entries and ids of ended jobs, packed, by when they may be purged (retention.lua)
      UNIQUES,  -- hash: unique text -> id of its scheduled or live job
      PAUSED,   -- hash: key -> since when it is paused
      BLOCKED,  -- sorted set: key, by since when it is blocked
      CALLERS,  -- sorted set: zero byte, verb, caller, by when it called, some minutes late
      WAITERS,  -- hash: channel -> the tasks that who waits there knows, and the claim to make ahead (waiting.lua)
      WATCHED   -- hash: id -> who waits for its end

local SCHEDULED, WAITS, RUNNING, SUCCEEDED, FAILED, CANCELLED = 0, 1, 2, 3, 4, 5
local NO_SETTINGS = {}
local MAX_TIMERS = 1000
local MAX_PAGE = 1000
local KEEP_REPLY = 3600000000
-- So many values are handed to one command: Lua's stack is not endless.
local PART = 2000

at_begin(function()
  BOOK, JOBS, SPECS, ERRORS, PROGRESS, ENTRIES, WAITING, READY, OFFERS, VALUES, LINES, TIMERS,
  ENDS, UNIQUES, PAUSED, BLOCKED, CALLERS, WAITERS, WATCHED
    = unpack(KEYS)
end)
