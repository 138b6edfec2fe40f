-- How a call begins. A server is given the library once and keeps its functions: a call makes none anew, and what it
-- finds here is left from the one before. So each piece says what of it is to be set at the beginning of each call.

local function look_up() return redis.call, cmsgpack.pack, cmsgpack.unpack, next, unpack, math, string, struct end

-- Looked up by the first call, for there is nothing to be found while the library is loaded, and kept: a global is
-- looked for in two tables each time.
local call, pack, unpack_all, next, unpack, math, string, struct
local KEYS, ARGV, BLOBS
local beginnings = {}

local function at_begin(set)
  beginnings[#beginnings + 1] = set
end

-- All that a call is told comes in one word, as msgpack values one behind the other: `ARGV`, from here on. `BLOBS` come
-- after it, each a word, and are kept unread: the first is at 2.
local function begin_call(keys, args)
  if not call then call, pack, unpack_all, next, unpack, math, string, struct = look_up() end
  KEYS, ARGV, BLOBS = keys, {unpack_all(args[1])}, args
  for index = 1, #beginnings do beginnings[index]() end
end
