-- Offer the key's head no longer.
-- Inputs: 1 queue, 2 key.
-- Outputs: gate and value of the job, if it was offered.
UPDATE fifoq_jobs SET ready = NULL
WHERE job = (
    SELECT j.job FROM fifoq_jobs AS j
    WHERE j.queue = ?1 AND j.key = ?2 AND j.line IS NOT NULL ORDER BY j.line LIMIT 1
) AND ready IS NOT NULL
RETURNING gate, value;
