-- What a task would offer next, its own gate set aside.
-- Inputs: 1 gate.
-- Outputs: the first score of its jobs without a value, the first head of its values.
SELECT
    (SELECT ready FROM fifoq_jobs WHERE gate = ?1 AND value IS NULL AND ready IS NOT NULL ORDER BY ready LIMIT 1),
    (SELECT head FROM fifoq_values WHERE gate = ?1 AND head IS NOT NULL ORDER BY head LIMIT 1);
