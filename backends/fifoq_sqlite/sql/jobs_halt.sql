-- A keyed job failed and keeps its place.
-- Inputs: 1 now, 2 error, 3 how long it is kept, once skipped, 4 job.
UPDATE fifoq_jobs
SET state = 4, halted = 1, finished_at = ?1, since = ?1, error = ?2, reason = NULL, kept = ?3,
    token = NULL, cancel_requested = 0, at = NULL
WHERE job = ?4;
