-- pass_on: tell somebody else that there may be something to claim. Who was told did not listen any more.
--
-- KEYS  all of the queue (keys.lua)
-- ARGV  1 test clock or ''
-- gives nothing

if Book.begin(ARGV[1], false) then
  Ready.stir()
  Ending.finish()
end
