-- Inputs: 1 how many attempts to give back, 2 how many crashes to add, 3 job.
UPDATE fifoq_jobs SET attempt = attempt - ?1, crashes = crashes + ?2 WHERE job = ?3;
