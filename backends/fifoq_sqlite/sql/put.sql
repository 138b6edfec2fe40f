-- Put. A small put leaves its jobs unindexed (unindexed_…): their rows have no queue, and so are in no index, until
-- another call of the queue indexes them. Any other put inserts rows that are indexed (jobs_enter…).

-- name: unindexed_enter
-- Insert new jobs without indexing them. If an indexed job has the same id, the row has no gate and is not inserted.
-- Inputs: one row of values for each job: job, id, queue, id, gate and so on, in the order of the columns; 0 for no
-- key, value, owner.
INSERT OR IGNORE INTO fifoq_jobs (
    job, id, gate, key, value, priority, state, seq, created_at, retain, owner, meta, payload, caller, number
)
VALUES (
    ?, ?, iif(EXISTS (SELECT 1 FROM fifoq_jobs WHERE queue = ? AND id = ?), NULL, ?), nullif(?, 0), nullif(?, 0), ?,
    6, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?
);

-- name: unindexed_read
-- Inputs: 1 the last indexed job, 2 the last possible job.
-- Outputs: the unindexed jobs, in order of entry.
SELECT job, id, gate, key, value, priority, created_at, caller, number
FROM fifoq_jobs WHERE job > ?1 AND job <= ?2 ORDER BY job;

-- name: unindexed_index
-- Index jobs.
-- Inputs: 1 queue, 2 and 3 the first and the last job, 4 a JSON array of the jobs that are heads of their lines.
UPDATE fifoq_jobs
SET queue = ?1, state = 1, caller = NULL, number = NULL,
    line = CASE WHEN key IS NOT NULL THEN seq END,
    ready = CASE WHEN key IS NULL OR job IN (SELECT e.value FROM json_each(?4) AS e)
        THEN (9 - priority) * 281474976710656 + seq END
WHERE job BETWEEN ?2 AND ?3;

-- ---- indexed puts ----

-- name: jobs_enter
-- Insert new plain jobs. A row whose id is taken is not inserted.
-- Inputs: one row of values for each job, in the order of the columns; 0 for no key, value, line, ready, owner.
INSERT INTO fifoq_jobs (
    job, queue, id, gate, key, value, priority, state, seq, line, ready, created_at, retain, owner, meta, payload
)
VALUES (?, ?, ?, ?, nullif(?, 0), nullif(?, 0), ?, ?, ?, nullif(?, 0), nullif(?, 0), ?, ?, nullif(?, 0), ?, ?)
ON CONFLICT (queue, id) WHERE queue IS NOT NULL DO NOTHING;

-- name: jobs_enter_timed
-- Insert new jobs of any kind, among them those that wait for a time or are unique.
-- Inputs: one row of values for each job, in the order of the columns.
INSERT INTO fifoq_jobs (
    job, queue, id, gate, key, value, priority, state, seq, line, ready, created_at, retain, owner, meta, payload,
    at, since, held, due_at, expires_at, delay, in_line, expires, "unique"
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: jobs_undo_enter
-- Inputs: 1 and 2 the first and the last job.
DELETE FROM fifoq_jobs WHERE job BETWEEN ?1 AND ?2;

-- name: jobs_by_id
-- Inputs: 1 queue, 2 id.
-- Outputs: gate and payload of the job.
SELECT gate, payload FROM fifoq_jobs WHERE queue = ?1 AND id = ?2;

-- name: jobs_by_unique
-- Inputs: 1 queue, 2 unique text.
-- Outputs: job and id of the job that holds the text.
SELECT job, id FROM fifoq_jobs WHERE queue = ?1 AND held = ?2;

-- name: lines_free
-- Find the keys without a job in line and without a pause: the next job of such a key is offered as it enters.
-- Inputs: 1 queue, 2 a JSON array of keys.
-- Outputs: a JSON array of those keys.
SELECT json_group_array(e.value) FROM json_each(?2) AS e
WHERE NOT EXISTS (
    SELECT 1 FROM fifoq_jobs AS j WHERE j.queue = ?1 AND j.key = e.value AND j.line IS NOT NULL
) AND NOT EXISTS (SELECT 1 FROM fifoq_paused_keys AS p WHERE p.queue = ?1 AND p.key = e.value);
