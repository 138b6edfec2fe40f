-- Inputs: 1 progress, 2 job.
UPDATE fifoq_jobs SET progress = ?1 WHERE job = ?2;
