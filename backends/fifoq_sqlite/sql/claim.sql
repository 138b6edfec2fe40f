-- name: jobs_ready
-- Inputs: 1 gate, 2 value (or NULL), 3 the score before the first, 4 how many.
-- Outputs: the offered jobs with the smallest scores.
SELECT ready, job, id, payload, key, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, attempt, crashes, created_at
FROM fifoq_jobs
WHERE gate = ?1 AND value IS ?2 AND ready > ?3 AND ready IS NOT NULL
ORDER BY ready LIMIT ?4;

-- name: jobs_lease
-- Inputs: 1 lease end, 2 what a token begins with, 3 the first fence, 4 now, 5 worker, 6 a JSON array of jobs.
UPDATE fifoq_jobs
SET state = 2, ready = NULL, at = ?1, expires_at = NULL, progress = NULL,
    token = ?2 || (?3 + e.key), attempt = attempt + 1, started_at = ?4, worker = ?5
FROM json_each(?6) AS e
WHERE job = e.value;
