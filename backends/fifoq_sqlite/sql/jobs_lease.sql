-- Inputs: 1 lease end, 2 what a token begins with, 3 the first fence, 4 now, 5 worker, 6 a JSON array of jobs.
UPDATE fifoq_jobs
SET state = 2, ready = NULL, at = ?1, expires_at = NULL, progress = NULL,
    token = ?2 || (?3 + e.key), attempt = attempt + 1, started_at = ?4, worker = ?5
FROM json_each(?6) AS e
WHERE job = e.value;
