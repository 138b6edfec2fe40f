-- Jobs that may block their keys, and paused keys, by (since, key).
-- Inputs: 1 queue, 2 and 3 the (since, key) before the first, 4 how many.
-- Outputs: since, key, reason (NULL: another row tells of this key, or it is not blocked), id of the key's head.
SELECT since, key, CASE
        WHEN paused IS NULL THEN CASE
            WHEN id IS NOT head THEN NULL
            WHEN halted THEN 'halted'
            WHEN EXISTS (SELECT 1 FROM fifoq_paused_keys AS p WHERE p.queue = ?1 AND p.key = both.key) THEN NULL
            ELSE 'backing off'
        END
        WHEN (SELECT h.halted FROM fifoq_jobs AS h WHERE h.queue = ?1 AND h.id = head) THEN NULL
        ELSE 'paused'
    END, head
FROM (
    SELECT since, key, job, id, halted, paused, (
        SELECT h.id FROM fifoq_jobs AS h
        WHERE h.queue = ?1 AND h.key = listed.key AND h.line IS NOT NULL ORDER BY h.line LIMIT 1
    ) AS head
    FROM (
        SELECT * FROM (
            SELECT since, key, job, id, halted, NULL AS paused FROM fifoq_jobs
            WHERE queue = ?1 AND since IS NOT NULL AND (since, key) > (?2, ?3)
            ORDER BY since, key, job LIMIT ?4
        )
        UNION ALL
        SELECT * FROM (
            SELECT since, key, 0, NULL, NULL, 1 FROM fifoq_paused_keys
            WHERE queue = ?1 AND (since, key) > (?2, ?3)
            ORDER BY since, key LIMIT ?4
        )
    ) AS listed
    ORDER BY since, key, job LIMIT ?4
) AS both;
