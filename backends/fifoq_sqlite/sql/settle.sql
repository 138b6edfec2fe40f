-- Extend and settle: the leases held by tokens, the transitions of jobs that end a lease or fall due, and the timers.
-- A score, here and in other files, is (9 - priority) * 2^48 + seq.

-- name: jobs_by_token
-- Inputs: 1 queue, 2 a JSON array of [id, token].
-- Outputs: of each job whose token was given: the index in the array, the parts of a JobRef, cancel_requested, reason,
-- score.
SELECT e.key, j.job, j.id, j.gate, j.key, j.value, j.retain, j.cancel_requested, j.reason,
    (9 - j.priority) * 281474976710656 + j.seq
FROM json_each(?2) AS e
CROSS JOIN fifoq_jobs AS j ON j.queue = ?1 AND j.id = (e.value ->> 0)
WHERE j.token = (e.value ->> 1);

-- name: jobs_extend
-- Inputs: 1 a JSON array of [job, lease end].
UPDATE fifoq_jobs SET at = e.value ->> 1 FROM json_each(?1) AS e WHERE job = (e.value ->> 0);

-- name: jobs_progress
-- Inputs: 1 progress, 2 job.
UPDATE fifoq_jobs SET progress = ?1 WHERE job = ?2;

-- ---- transitions ----

-- name: jobs_end
-- End a job that is kept.
-- Inputs: 1 state, 2 now, 3 result, 4 error (NULL keeps the last error, unless the job succeeded), 5 reason, 6 for how
-- long the job is kept, 7 job.
UPDATE fifoq_jobs
SET state = ?1, finished_at = ?2, result = ?3, error = CASE WHEN ?1 = 3 THEN NULL ELSE coalesce(?4, error) END,
    reason = ?5, kept = ?6, kept_until = ?2 + ?6, token = NULL, cancel_requested = 0,
    line = NULL, ready = NULL, at = NULL, since = NULL, held = NULL, due_at = NULL, expires_at = NULL
WHERE job = ?7;

-- name: jobs_remove
-- Inputs: 1 a JSON array of jobs.
DELETE FROM fifoq_jobs WHERE job IN (SELECT e.value FROM json_each(?1) AS e);

-- name: jobs_halt
-- Fail a keyed job and halt its key: the job keeps its place.
-- Inputs: 1 now, 2 error, 3 for how long the job is kept once skipped, 4 job.
UPDATE fifoq_jobs
SET state = 4, halted = 1, finished_at = ?1, since = ?1, error = ?2, reason = NULL, kept = ?3,
    token = NULL, cancel_requested = 0, at = NULL
WHERE job = ?4;

-- name: jobs_put_back
-- Return running jobs to their places.
-- Inputs: 1 due_at or NULL, 2 since (of a key, while it is not due), 3 ready, 4 error (NULL keeps the last error),
-- 5 attempts to refund, 6 crashes to add, 7 job.
UPDATE fifoq_jobs
SET state = 1, token = NULL, at = ?1, due_at = ?1, since = ?2, ready = ?3, error = coalesce(?4, error),
    attempt = attempt - ?5, crashes = crashes + ?6
WHERE job = ?7;

-- name: jobs_adjust_counts
-- Inputs: 1 attempts to refund, 2 crashes to add, 3 job.
UPDATE fifoq_jobs SET attempt = attempt - ?1, crashes = crashes + ?2 WHERE job = ?3;

-- name: lines_heads
-- Find the heads of lines that may be offered now and are not yet.
-- Inputs: 1 queue, 2 a JSON array of keys.
-- Outputs: job, gate, value, score, and whether its state and due_at are right: those of a damaged job may not be.
SELECT h.job, h.gate, h.value, (9 - h.priority) * 281474976710656 + h.seq, h.state = 1 AND h.due_at IS NULL
FROM json_each(?2) AS e
CROSS JOIN fifoq_jobs AS h ON h.job = (
    SELECT j.job FROM fifoq_jobs AS j
    WHERE j.queue = ?1 AND j.key = e.value AND j.line IS NOT NULL ORDER BY j.line LIMIT 1
)
WHERE (h.state = 1 OR h.state NOT BETWEEN 0 AND 5) AND (h.due_at IS NULL OR typeof(h.due_at) <> 'integer')
    AND h.ready IS NULL
    AND NOT EXISTS (SELECT 1 FROM fifoq_paused_keys AS p WHERE p.queue = ?1 AND p.key = e.value);

-- name: jobs_offer
-- Inputs: 1 a JSON array of jobs.
UPDATE fifoq_jobs SET ready = (9 - priority) * 281474976710656 + seq
WHERE job IN (SELECT e.value FROM json_each(?1) AS e);

-- ---- timers ----

-- name: leases_move
-- Move all leases of a queue along with a clock that was set ahead.
-- Inputs: 1 queue, 2 microseconds.
UPDATE fifoq_jobs SET at = at + ?2 WHERE queue = ?1 AND at IS NOT NULL AND state = 2;

-- name: timers_next
-- Inputs: 1 queue.
-- Outputs: the earliest and the latest timer.
SELECT
    (SELECT at FROM fifoq_jobs WHERE queue = ?1 AND at IS NOT NULL ORDER BY at LIMIT 1),
    (SELECT at FROM fifoq_jobs WHERE queue = ?1 AND at IS NOT NULL ORDER BY at DESC LIMIT 1);

-- name: timers_damaged
-- Inputs: 1 queue.
-- Outputs: the jobs whose timers are no times.
SELECT job FROM fifoq_jobs WHERE queue = ?1 AND at IS NOT NULL AND (typeof(at) <> 'integer' OR at NOT BETWEEN 0 AND 1 << 53);

-- name: timers_due
-- Inputs: 1 queue, 2 now, 3 the maximal number of jobs.
-- Outputs: the jobs whose timers are due, by (time, entry).
SELECT job, id, gate, key, value, retain, state, priority, seq, expires_at, cancel_requested, reason
FROM fifoq_jobs
WHERE queue = ?1 AND at <= ?2 AND at IS NOT NULL
ORDER BY at, job LIMIT ?3;

-- name: jobs_fall_due
-- End a delay or a back-off; a scheduled job enters the line.
-- Inputs: 1 seq, 2 line (the seq, with a key), 3 ready, 4 the next timer, 5 job.
UPDATE fifoq_jobs SET state = 1, seq = ?1, line = ?2, ready = ?3, at = ?4, due_at = NULL, since = NULL WHERE job = ?5;
