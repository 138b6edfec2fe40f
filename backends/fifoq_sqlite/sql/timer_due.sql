-- A delay or a back-off is over; a scheduled job enters the line.
-- Inputs: 1 seq, 2 line (the seq, with a key), 3 ready, 4 the next timer, 5 job.
UPDATE fifoq_jobs SET state = 1, seq = ?1, line = ?2, ready = ?3, at = ?4, due_at = NULL, since = NULL WHERE job = ?5;
