-- What can be called: each verb of a queue, as a function of the library.

local NONE_NEEDED = {}

-- `flag`: 'no-writes' if it only looks, 'allow-oom' if it is to work at maxmemory, too. `tasks_at`: which of ARGV has
-- the tasks whose gates it will need, if that is known; `run` is given them. `recalls`: as open_book is given them.
local function verb(name, flag, tasks_at, run, recalls)
  redis.register_function({
    function_name = LIBRARY .. '_' .. name,
    flags = {flag},
    callback = function(keys, args)
      begin_call(keys, args)
      local tasks = tasks_at and ARGV[tasks_at] or NONE_NEEDED
      open_book(tasks, recalls or NONE_NEEDED)
      if book.schema > SCHEMA then return redis.error_reply('NEWERSCHEMA ' .. book.schema) end
      local reply = run(tasks)
      write_fields(BOOK)
      return reply
    end,
  })
end
