-- Forget the values that neither run nor offer a job.
-- Inputs: 1 gate, 2 a JSON array of [value, …].
DELETE FROM fifoq_values
WHERE gate = ?1 AND running = 0 AND head IS NULL AND value IN (SELECT e.value ->> 0 FROM json_each(?2) AS e);
