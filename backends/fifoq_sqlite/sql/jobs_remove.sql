-- Inputs: 1 a JSON array of jobs.
DELETE FROM fifoq_jobs WHERE job IN (SELECT e.value FROM json_each(?1) AS e);
