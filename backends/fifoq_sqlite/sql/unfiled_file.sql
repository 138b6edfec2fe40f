-- File jobs.
-- Inputs: 1 queue, 2 and 3 the first and the last job, 4 a JSON array of those that are the first of their keys.
UPDATE fifoq_jobs
SET queue = ?1, state = 1, caller = NULL, number = NULL,
    line = CASE WHEN key IS NOT NULL THEN seq END,
    ready = CASE WHEN key IS NULL OR job IN (SELECT e.value FROM json_each(?4) AS e)
        THEN (9 - priority) * 281474976710656 + seq END
WHERE job BETWEEN ?2 AND ?3;
