-- Inputs: 1 a JSON array of [job, lease end].
UPDATE fifoq_jobs SET at = e.value ->> 1 FROM json_each(?1) AS e WHERE job = (e.value ->> 0);
