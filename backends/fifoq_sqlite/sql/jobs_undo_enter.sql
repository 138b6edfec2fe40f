-- Inputs: 1 and 2 the first and the last job.
DELETE FROM fifoq_jobs WHERE job BETWEEN ?1 AND ?2;
