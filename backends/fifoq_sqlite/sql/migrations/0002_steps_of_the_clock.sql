-- A queue's own gate has, beside its time:
--   lead    how far that was ahead of the machine's monotonic clock when the two were last compared
--   origin  the name of that clock's start: of the boot of the machine
ALTER TABLE fifoq_gates ADD COLUMN lead INTEGER;
ALTER TABLE fifoq_gates ADD COLUMN origin TEXT;
