-- End a job that is kept.
-- Inputs: 1 state, 2 now, 3 result, 4 error (NULL leaves what is there, unless it succeeded), 5 reason, 6 how long it
-- is kept, 7 job.
UPDATE fifoq_jobs
SET state = ?1, finished_at = ?2, result = ?3, error = CASE WHEN ?1 = 3 THEN NULL ELSE coalesce(?4, error) END,
    reason = ?5, kept = ?6, kept_until = ?2 + ?6, token = NULL, cancel_requested = 0,
    line = NULL, ready = NULL, at = NULL, since = NULL, held = NULL, due_at = NULL, expires_at = NULL
WHERE job = ?7;
