-- Inputs: 1 queue.
-- Outputs: the earliest timer.
SELECT at FROM fifoq_jobs WHERE queue = ?1 AND at IS NOT NULL ORDER BY at LIMIT 1;
