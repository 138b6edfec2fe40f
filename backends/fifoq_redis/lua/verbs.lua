-- What can be called: each verb of a queue, as a function of the library.

-- `flag`: 'no-writes' if it only looks, 'allow-oom' if it is to work at maxmemory, too.
local function verb(name, flag, run)
  redis.register_function({
    function_name = LIBRARY .. '_' .. name,
    flags = {flag},
    callback = function(keys, args)
      begin_call(keys, args)
      if book.schema > SCHEMA then return redis.error_reply('NEWERSCHEMA ' .. book.schema) end
      local reply = run()
      write_fields(REPLIES)
      return reply
    end,
  })
end
