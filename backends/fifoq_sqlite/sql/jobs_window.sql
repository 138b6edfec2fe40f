-- Inputs: 1 the job before the first, 2 the last job that may be, 3 how many.
-- Outputs: how many jobs there are, and the last of them.
SELECT count(*), max(job) FROM (SELECT job FROM fifoq_jobs WHERE job > ?1 AND job <= ?2 ORDER BY job LIMIT ?3);
