-- The counters of the queue, and its time. Read at the start of every script, written at the end of one that changes.

local Book = {}

local SCHEMA = 1
local FIELDS = {
  'schema', 'last', 'offset', 'number', 'fence', 'version', 'accepted', 'purged',
  'scheduled', 'succeeded', 'failed', 'cancelled',
}

-- As one packed string: two commands less work than a hash of twelve fields, in every script.
function Book.read()
  local packed = call('GET', BOOK)
  local values, book = packed and {unpack_all(packed)} or {}, {}
  for index, name in ipairs(FIELDS) do book[name] = values[index] or 0 end
  return book
end

local book = Book.read()
if book.schema > SCHEMA then return redis.error_reply('NEWERSCHEMA ' .. book.schema) end
local now

-- The time of this call, read once. Set back, it runs on from the last one used.
function Book.tell_time(given)
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

-- Begin a call that changes the queue, or return false if there is no queue yet.
function Book.begin(given, make)
  Book.tell_time(given)
  if book.schema == 0 then
    if not make then return false end
    -- Who waits, or asked before, may have come first; all else is of a queue whose book is lost, or not of fifoq.
    if call('EXISTS', unpack(KEYS, 1, 18)) > 0 then error({err = 'FOREIGN'}) end
    book.schema = SCHEMA
  end
  book.last = now
  return true
end

function Book.write()
  local values = {}
  for index, name in ipairs(FIELDS) do values[index] = book[name] end
  call('SET', BOOK, pack(unpack(values)))
end

function Book.next_number()
  book.number = book.number + 1
  return book.number
end
