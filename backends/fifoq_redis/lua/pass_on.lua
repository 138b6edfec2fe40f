-- pass_on: tell somebody else that there may be something to claim. Who was told did not listen any more.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or ''
-- gives nothing

verb('pass_on', 'allow-oom', nil, function()
  if begin(ARGV[1], false) then
    stir()
    end_change()
  end
end)
