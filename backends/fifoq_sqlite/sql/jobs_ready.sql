-- Inputs: 1 gate, 2 value (or NULL), 3 the score before the first, 4 how many.
-- Outputs: the offered jobs with the smallest scores.
SELECT ready, job, id, payload, key, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, attempt, crashes, created_at
FROM fifoq_jobs
WHERE gate = ?1 AND value IS ?2 AND ready > ?3 AND ready IS NOT NULL
ORDER BY ready LIMIT ?4;
