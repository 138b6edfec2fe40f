-- Inputs: 1 the last filed job, 2 the last job that may be.
-- Outputs: the jobs that are not filed, in order of entry.
SELECT job, id, gate, key, value, priority, created_at, caller, number
FROM fifoq_jobs WHERE job > ?1 AND job <= ?2 ORDER BY job;
