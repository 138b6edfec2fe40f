-- Inputs: 1 reason, 2 job.
UPDATE fifoq_jobs SET cancel_requested = 1, reason = ?1 WHERE job = ?2;
