-- The counters of the queue, and its time. Read at the start of every call, written at the end of one that changes.

local SCHEMA = 1

local COUNTERS = '\0'
local book, now

-- As one packed field: less work, in every call, than a field of each.
local function read_book(packed)
  local schema, last, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
        watched, first
  if packed then
    schema, last, offset, number, fence, version, accepted, purged, scheduled, succeeded, failed, cancelled,
      watched, first = unpack_all(packed)
  end
  now = nil
  book = {
    schema = schema or 0, last = last or 0, offset = offset or 0, number = number or 0, fence = fence or 0,
    version = version or 0, accepted = accepted or 0, purged = purged or 0, scheduled = scheduled or 0,
    succeeded = succeeded or 0, failed = failed or 0, cancelled = cancelled or 0, watched = watched or 0,
    first = first or false,
  }
end

local function write_book()
  fill(BOOK, COUNTERS, pack(
    book.schema, book.last, book.offset, book.number, book.fence, book.version, book.accepted, book.purged,
    book.scheduled, book.succeeded, book.failed, book.cancelled, book.watched, book.first
  ))
end

-- The time of this call, read once. Set back, it runs on from the last one used.
local function tell_time(given)
  local wall = tonumber(given)
  if not wall then
    local time = call('TIME')
    wall = time[1] * 1000000 + time[2]
  end
  now = wall + book.offset
  if now < book.last then
    book.offset, now = book.offset + book.last - now, book.last
  end
end

-- The names of all gates: what else is in the book begins with a zero byte.
local function gate_names()
  local names = {}
  for _, name in ipairs(call('HKEYS', BOOK)) do
    if string.byte(name) ~= 0 then names[#names + 1] = name end
  end
  return names
end

-- Whether there is something of a queue whose book is lost, or not of fifoq. Who waits, or asked before, may have come
-- first.
local function is_foreign()
  return #gate_names() > 0 or call('EXISTS', unpack(KEYS, 2, 16)) > 0
end

-- Begin a call that changes the queue, or return false if there is no queue yet.
local function begin(given, make)
  tell_time(given)
  if book.schema == 0 then
    if not make then return false end
    if is_foreign() then error({err = 'FOREIGN'}) end
    book.schema = SCHEMA
  end
  book.last = now
  return true
end

local function next_number()
  book.number = book.number + 1
  return book.number
end

local function count(state, by)
  if state == SUCCEEDED then
    book.succeeded = book.succeeded + by
  elseif state == SCHEDULED then
    book.scheduled = book.scheduled + by
  elseif state == FAILED then
    book.failed = book.failed + by
  else
    book.cancelled = book.cancelled + by
  end
end
