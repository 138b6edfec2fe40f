-- Queries (get, find, stats, blocked keys) and the calls of operators (cancel, requeue, skip, pause, resume, purge).
-- jobs_get, unindexed_get and jobs_find return the same 29 columns, in the order in which operations.py reads a record.
-- SQL has no name for a list of columns but a view, which would be part of the schema: so the list is repeated.

-- name: jobs_get
-- Inputs: 1 queue, 2 a JSON array of ids.
-- Outputs: records.
SELECT job, id, gate, payload, key, value, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, state, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
    result, error, progress, reason, cancel_requested, halted
FROM fifoq_jobs WHERE queue = ?1 AND id IN (SELECT e.value FROM json_each(?2) AS e);

-- name: unindexed_get
-- Inputs: 1 a JSON array of unindexed jobs.
-- Outputs: records.
SELECT job, id, gate, payload, key, value, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, state, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
    result, error, progress, reason, cancel_requested, halted
FROM fifoq_jobs WHERE job IN (SELECT e.value FROM json_each(?1) AS e);

-- name: jobs_find
-- Inputs: 1 the job before the first, 2 the last job, 3-6 state, gate, key, owner (NULL for any), 7 the maximal number
-- of records.
-- Outputs: records, in order of entry.
SELECT job, id, gate, payload, key, value, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, state, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
    result, error, progress, reason, cancel_requested, halted
FROM fifoq_jobs
WHERE job > ?1 AND job <= ?2
    AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR gate = ?4)
    AND (?5 IS NULL OR key = ?5) AND (?6 IS NULL OR owner = ?6)
ORDER BY job LIMIT ?7;

-- name: jobs_window
-- Inputs: 1 the job before the first, 2 the last possible job, 3 the maximal number of jobs.
-- Outputs: the number of jobs, and the last of them.
SELECT count(*), max(job) FROM (SELECT job FROM fifoq_jobs WHERE job > ?1 AND job <= ?2 ORDER BY job LIMIT ?3);

-- name: jobs_oldest
-- Find the waiting job with the smallest seq. Offered jobs without a value and of priority 0 are found by their scores.
-- Inputs: 1 queue.
-- Outputs: created_at, if a job waits.
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

-- name: keys_blocked
-- Read the jobs that may block their keys, and the paused keys, by (since, key).
-- Inputs: 1 queue, 2 and 3 the (since, key) before the first, 4 the maximal number of rows, 5 owner (NULL for any).
-- Outputs: since, key, reason (NULL: the key is not blocked, or another row has its reason, or its head is of another
-- owner), id of the key's head.
SELECT since, key, CASE
        WHEN ?5 IS NOT NULL
            AND (SELECT h.owner FROM fifoq_jobs AS h WHERE h.queue = ?1 AND h.id = head) IS NOT ?5 THEN NULL
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

-- ---- calls of operators ----

-- name: jobs_inspect
-- Read the columns of a job that the call of an operator depends on.
-- Inputs: 1 queue, 2 id.
-- Outputs: one row, if there is such a job.
SELECT job, gate, key, value, retain, state, priority, cancel_requested, halted, kept, "unique"
FROM fifoq_jobs WHERE queue = ?1 AND id = ?2;

-- name: jobs_request_cancel
-- Inputs: 1 reason, 2 job.
UPDATE fifoq_jobs SET cancel_requested = 1, reason = ?1 WHERE job = ?2;

-- name: jobs_requeue
-- Make a failed job waiting, as if it had never run. A halted job keeps its seq.
-- Inputs: 1 a new seq or NULL, 2 job.
UPDATE fifoq_jobs
SET state = 1, halted = 0, seq = coalesce(?1, seq), line = CASE WHEN key IS NULL THEN NULL ELSE coalesce(?1, seq) END,
    held = "unique", since = NULL, kept_until = NULL, kept = 0, attempt = 0, crashes = 0,
    error = NULL, progress = NULL, worker = NULL, started_at = NULL, finished_at = NULL
WHERE job = ?2;

-- name: jobs_skip
-- End the halt of a job's key: the job leaves its line, and is kept from now on.
-- Inputs: 1 now, 2 job.
UPDATE fifoq_jobs
SET halted = 0, kept_until = ?1 + kept, line = NULL, since = NULL, held = NULL
WHERE job = ?2;

-- name: keys_pause
-- Inputs: 1 queue, 2 key, 3 now.
INSERT INTO fifoq_paused_keys (queue, key, since) VALUES (?1, ?2, ?3) ON CONFLICT (queue, key) DO NOTHING;

-- name: keys_withdraw
-- Withdraw the offer of a paused key's head.
-- Inputs: 1 queue, 2 key.
-- Outputs: gate and value of the job, if it was offered.
UPDATE fifoq_jobs SET ready = NULL
WHERE job = (
    SELECT j.job FROM fifoq_jobs AS j
    WHERE j.queue = ?1 AND j.key = ?2 AND j.line IS NOT NULL ORDER BY j.line LIMIT 1
) AND ready IS NOT NULL
RETURNING gate, value;

-- name: keys_resume
-- Inputs: 1 queue, 2 key.
DELETE FROM fifoq_paused_keys WHERE queue = ?1 AND key = ?2;

-- name: jobs_purgeable
-- Inputs: 1 queue, 2 now, 3 the maximal number of jobs.
-- Outputs: job and state of the ended jobs that are kept no longer, by (kept_until, entry).
SELECT job, state FROM fifoq_jobs
WHERE queue = ?1 AND kept_until <= ?2 AND kept_until IS NOT NULL
ORDER BY kept_until, job LIMIT ?3;
