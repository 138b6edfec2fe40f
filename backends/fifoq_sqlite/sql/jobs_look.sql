-- What an operator's call has to know.
-- Inputs: 1 queue, 2 id.
-- Outputs: one row, if there is such a job.
SELECT job, gate, key, value, retain, state, priority, cancel_requested, halted, kept, "unique"
FROM fifoq_jobs WHERE queue = ?1 AND id = ?2;
