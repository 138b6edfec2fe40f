-- How a call begins. A server is given the library once and keeps its functions: a call makes none anew, and what it
-- finds here is left from the one before. So each piece says what of it is to be set at the beginning of each call.

local KEYS, ARGV, call, pack, unpack_all
local beginnings = {}

local function at_begin(set)
  beginnings[#beginnings + 1] = set
end

-- While the library is loaded, there is nothing to be called yet.
local function begin_call(keys, args)
  KEYS, ARGV = keys, args
  call, pack, unpack_all = redis.call, cmsgpack.pack, cmsgpack.unpack
  for index = 1, #beginnings do beginnings[index]() end
end
