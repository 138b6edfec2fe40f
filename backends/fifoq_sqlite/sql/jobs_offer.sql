-- Inputs: 1 a JSON array of jobs.
UPDATE fifoq_jobs SET ready = (9 - priority) * 281474976710656 + seq
WHERE job IN (SELECT e.value FROM json_each(?1) AS e);
