-- Damaged rows of jobs: they are read and rewritten as a whole (damage.py).

-- name: job_columns
-- Inputs: 1 job.
-- Outputs: the columns that are mended.
SELECT queue, id, gate, state, seq, created_at, priority, retain, in_line, attempt, crashes, cancel_requested,
    halted, kept, line, ready, at, since, kept_until, due_at, expires_at, expires, started_at, finished_at,
    key, value, held, owner, "unique", token, worker, reason, delay
FROM fifoq_jobs WHERE job = ?1;

-- name: jobs_columns
-- Inputs: 1 the job before the first, 2 the last possible job, 3 the maximal number of jobs.
-- Outputs: the same columns, and job.
SELECT queue, id, gate, state, seq, created_at, priority, retain, in_line, attempt, crashes, cancel_requested,
    halted, kept, line, ready, at, since, kept_until, due_at, expires_at, expires, started_at, finished_at,
    key, value, held, owner, "unique", token, worker, reason, delay, job
FROM fifoq_jobs WHERE job > ?1 AND job <= ?2 ORDER BY job LIMIT ?3;

-- name: job_mend
-- Inputs: 1-33 the same columns; 34 job.
UPDATE fifoq_jobs
SET queue = ?1, id = ?2, gate = ?3, state = ?4, seq = ?5, created_at = ?6, priority = ?7, retain = ?8,
    in_line = ?9, attempt = ?10, crashes = ?11, cancel_requested = ?12, halted = ?13, kept = ?14, line = ?15,
    ready = ?16, at = ?17, since = ?18, kept_until = ?19, due_at = ?20, expires_at = ?21, expires = ?22,
    started_at = ?23, finished_at = ?24, key = ?25, value = ?26, held = ?27, owner = ?28, "unique" = ?29,
    token = ?30, worker = ?31, reason = ?32, delay = ?33
WHERE job = ?34;

-- name: gates_live
-- Inputs: 1 and 2 the first and the last possible job of a queue.
-- Outputs: gate and number of its scheduled, waiting and running jobs.
SELECT gate, count(*) FROM fifoq_jobs WHERE job BETWEEN ?1 AND ?2 AND state IN (0, 1, 2, 6) GROUP BY gate;

-- name: values_recount
-- Count the running jobs of all values of a task; O(n).
-- Inputs: 1 gate, 2 and 3 the first and the last possible job of its queue.
UPDATE fifoq_values AS v
SET running = (
    SELECT count(*) FROM fifoq_jobs AS j
    WHERE j.job BETWEEN ?2 AND ?3 AND j.gate = ?1 AND j.value = v.value AND j.state = 2
)
WHERE gate = ?1;

-- name: lines_stuck
-- Find the keys whose heads could be offered and are not.
-- Inputs: 1 queue.
-- Outputs: key.
SELECT key FROM fifoq_jobs WHERE queue = ?1 AND line IS NOT NULL GROUP BY key HAVING max(ready IS NOT NULL) = 0;
