-- Inputs: 1 queue, 2 unique text.
-- Outputs: job and id of the job that holds it.
SELECT job, id FROM fifoq_jobs WHERE queue = ?1 AND held = ?2;
