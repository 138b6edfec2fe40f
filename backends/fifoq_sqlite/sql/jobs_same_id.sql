-- Inputs: 1 queue, 2 id.
-- Outputs: gate and payload of the job.
SELECT gate, payload FROM fifoq_jobs WHERE queue = ?1 AND id = ?2;
