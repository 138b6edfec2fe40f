-- A delay or a back-off is over; a scheduled job enters the line.
-- Inputs: 1 seq, 2 line (the seq, with a key), 3 the next timer, 4 job.
UPDATE fifoq_jobs SET state = 1, seq = ?1, line = ?2, at = ?3, due_at = NULL, since = NULL WHERE job = ?4;
