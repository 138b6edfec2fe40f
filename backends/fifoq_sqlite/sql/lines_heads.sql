-- The heads of lines that may be offered now and are not yet.
-- Inputs: 1 queue, 2 a JSON array of keys.
-- Outputs: job, gate, value, score.
SELECT h.job, h.gate, h.value, (9 - h.priority) * 281474976710656 + h.seq
FROM json_each(?2) AS e
CROSS JOIN fifoq_jobs AS h ON h.job = (
    SELECT j.job FROM fifoq_jobs AS j
    WHERE j.queue = ?1 AND j.key = e.value AND j.line IS NOT NULL ORDER BY j.line LIMIT 1
)
WHERE h.state = 1 AND h.due_at IS NULL AND h.ready IS NULL
    AND NOT EXISTS (SELECT 1 FROM fifoq_paused_keys AS p WHERE p.queue = ?1 AND p.key = e.value);
