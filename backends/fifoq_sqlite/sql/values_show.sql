-- Recompute what values offer, after their jobs or their counts changed.
-- Inputs: 1 gate, 2 the task's value_limit (a huge number for none), 3 a JSON array of [value, change of running].
INSERT INTO fifoq_values AS v (gate, value, running, head)
SELECT ?1, e.value ->> 0, e.value ->> 1,
    CASE WHEN (e.value ->> 1) < ?2 THEN (
        SELECT j.ready FROM fifoq_jobs AS j
        WHERE j.gate = ?1 AND j.value = (e.value ->> 0) AND j.ready IS NOT NULL ORDER BY j.ready LIMIT 1
    ) END
FROM json_each(?3) AS e
WHERE TRUE
ON CONFLICT (gate, value) DO UPDATE
SET running = v.running + excluded.running,
    head = CASE WHEN v.running + excluded.running < ?2 THEN (
        SELECT j.ready FROM fifoq_jobs AS j
        WHERE j.gate = ?1 AND j.value = v.value AND j.ready IS NOT NULL ORDER BY j.ready LIMIT 1
    ) END;
