-- Claim: the offered jobs of a gate in order of score, and their leases.

-- name: values_heads
-- Inputs: 1 gate, 2 the maximal number of values.
-- Outputs: value, running and head of the values with the smallest heads.
SELECT value, running, head FROM fifoq_values WHERE gate = ?1 AND head IS NOT NULL ORDER BY head LIMIT ?2;

-- name: jobs_ready
-- Inputs: 1 gate, 2 value (or NULL), 3 the score before the first, 4 the maximal number of jobs.
-- Outputs: the offered jobs with the smallest scores.
SELECT ready, job, id, payload, key, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, attempt, crashes, created_at, queue
FROM fifoq_jobs
WHERE gate = ?1 AND value IS ?2 AND ready > ?3 AND ready IS NOT NULL
ORDER BY ready LIMIT ?4;

-- name: jobs_lease
-- Inputs: 1 lease end, 2 the prefix of the tokens, 3 the first fence, 4 now, 5 worker, 6 a JSON array of jobs.
UPDATE fifoq_jobs
SET state = 2, ready = NULL, at = ?1, expires_at = NULL, progress = NULL,
    token = ?2 || (?3 + e.key), attempt = attempt + 1, started_at = ?4, worker = ?5
FROM json_each(?6) AS e
WHERE job = e.value;
