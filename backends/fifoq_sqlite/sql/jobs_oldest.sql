-- Of the waiting job with the smallest seq. Those offered without a value at priority 0 are found by their scores.
-- Inputs: 1 queue.
-- Outputs: created_at, if one waits.
SELECT created_at FROM (
    SELECT * FROM (
        SELECT seq, created_at FROM fifoq_jobs
        WHERE queue = ?1 AND state = 1 AND (ready IS NULL OR value IS NOT NULL OR priority <> 0)
        ORDER BY seq LIMIT 1
    )
    UNION ALL
    SELECT j.seq, j.created_at
    FROM fifoq_gates AS g CROSS JOIN fifoq_jobs AS j ON j.job = (
        SELECT f.job FROM fifoq_jobs AS f
        WHERE f.gate = g.gate AND f.value IS NULL AND f.ready IS NOT NULL
            AND f.ready >= 9 * 281474976710656 AND f.ready < 10 * 281474976710656
        ORDER BY f.ready LIMIT 1
    )
    WHERE g.queue = ?1
)
ORDER BY seq LIMIT 1;
