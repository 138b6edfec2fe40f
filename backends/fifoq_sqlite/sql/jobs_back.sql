-- Put jobs back to their places; whether they are offered is decided after.
-- Inputs: 1 due_at or NULL, 2 since (of a key, while it is not due), 3 error (NULL leaves what is there),
-- 4 how many attempts to give back, 5 job.
UPDATE fifoq_jobs
SET state = 1, token = NULL, at = ?1, due_at = ?1, since = ?2, error = coalesce(?3, error), attempt = attempt - ?4
WHERE job = ?5;
