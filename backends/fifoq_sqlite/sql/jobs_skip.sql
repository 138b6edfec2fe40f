-- Inputs: 1 now, 2 job.
UPDATE fifoq_jobs
SET halted = 0, kept_until = ?1 + kept, line = NULL, since = NULL, held = NULL
WHERE job = ?2;
