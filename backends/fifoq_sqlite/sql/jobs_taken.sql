-- Inputs: 1 queue, 2 a JSON array of ids.
-- Outputs: one row if any of them is taken.
SELECT 1 FROM fifoq_jobs WHERE queue = ?1 AND id IN (SELECT e.value FROM json_each(?2) AS e) LIMIT 1;
