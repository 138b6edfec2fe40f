-- How every change ends: who waits for something to claim is told or given it, and all that was collected is written.

local function end_change()
  face_all()
  show_values()
  note_first_timer()
  if soonest and book.first == soonest then stir() end
  if next(offered) ~= nil then
    book.version = book.version + 1
    tell_waiters()
  end
  write_kept()
  write_jobs()
  write_gates()
  write_book()
  write_all()
end
