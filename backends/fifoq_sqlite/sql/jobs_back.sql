-- Put jobs back to their places.
-- Inputs: 1 due_at or NULL, 2 since (of a key, while it is not due), 3 ready, 4 error (NULL leaves what is there),
-- 5 how many attempts to give back, 6 how many crashes to add, 7 job.
UPDATE fifoq_jobs
SET state = 1, token = NULL, at = ?1, due_at = ?1, since = ?2, ready = ?3, error = coalesce(?4, error),
    attempt = attempt - ?5, crashes = crashes + ?6
WHERE job = ?7;
