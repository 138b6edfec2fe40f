-- Inputs: 1 queue.
-- Outputs: created_at of the waiting job with the smallest seq.
SELECT created_at FROM fifoq_jobs WHERE queue = ?1 AND state = 1 ORDER BY seq LIMIT 1;
