-- A lease ended: back to its place.
-- Inputs: 1 job.
UPDATE fifoq_jobs SET state = 1, token = NULL, at = NULL, crashes = crashes + 1 WHERE job = ?1;
