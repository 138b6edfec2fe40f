-- The task's value_limit changed: each of its values is at its limit or not.
-- Inputs: 1 gate, 2 value_limit (a huge number for none).
UPDATE fifoq_values AS v
SET head = CASE WHEN running < ?2 THEN (
    SELECT j.ready FROM fifoq_jobs AS j
    WHERE j.gate = ?1 AND j.value = v.value AND j.ready IS NOT NULL ORDER BY j.ready LIMIT 1
) END
WHERE gate = ?1;
