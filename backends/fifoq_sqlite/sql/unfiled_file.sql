-- File jobs.
-- Inputs: 1 queue, 2 a JSON array of [job, ready].
UPDATE fifoq_jobs
SET queue = ?1, state = 1, line = CASE WHEN fifoq_jobs.key IS NOT NULL THEN seq END, ready = e.value ->> 1,
    caller = NULL, number = NULL
FROM json_each(?2) AS e
WHERE job = (e.value ->> 0);
