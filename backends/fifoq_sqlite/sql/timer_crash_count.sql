-- A lease ended, of a job that ends now.
-- Inputs: 1 job.
UPDATE fifoq_jobs SET crashes = crashes + 1 WHERE job = ?1;
