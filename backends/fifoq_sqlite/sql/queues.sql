-- Queues with their gates: the state of a queue, read once by a connection and written back by each transaction; the
-- settings of gates; the gates of values.

-- name: queue_find
-- Inputs: 1 name.
-- Outputs: queue.
SELECT queue FROM fifoq_queues WHERE name = ?1;

-- name: queue_names
-- Outputs: name of each queue, in order.
SELECT name FROM fifoq_queues ORDER BY name;

-- name: queue_make
-- Inputs: 1 name.
INSERT INTO fifoq_queues (name) VALUES (?1);

-- name: queue_version
-- Inputs: 1 queue, 2 the last possible entry.
-- Outputs: the queue's version: the stored one, plus one for each unindexed job.
SELECT g.version + (
    SELECT count(*) FROM fifoq_jobs AS j
    WHERE j.job > (?1 << 40 | g.counter) AND j.job <= (?1 << 40 | ?2)
) FROM fifoq_gates AS g WHERE g.queue = ?1 AND g.task = '';

-- ---- the state of a queue ----

-- name: gates_read
-- Inputs: 1 queue.
-- Outputs: the queue's own gate (task '') and the gates of its tasks, by name.
SELECT gate, task, paused, tat, live, running, head, valued, used,
    version, now, ahead, counter, fence, purged, scheduled, waiting, succeeded, failed, cancelled, lead, origin
FROM fifoq_gates WHERE queue = ?1 ORDER BY task;

-- name: gate_make
-- Inputs: 1 queue, 2 task ('' for the queue's own gate).
INSERT INTO fifoq_gates (queue, task, used) VALUES (?1, ?2, 0);

-- name: gate_drop
-- Inputs: 1 gate: a task's that no job has used, without settings.
DELETE FROM fifoq_gates WHERE gate = ?1;

-- name: queue_write
-- Inputs: 1-4 of the queue's own gate: paused, tat, live, running; 5-10 version, now, ahead, counter, fence, purged;
-- 11-15 the numbers of scheduled, waiting, succeeded, failed and cancelled jobs; 16 lead, 17 origin, 18 gate.
UPDATE fifoq_gates
SET paused = ?1, tat = ?2, live = ?3, running = ?4,
    version = ?5, now = ?6, ahead = ?7, counter = ?8, fence = ?9, purged = ?10,
    scheduled = ?11, waiting = ?12, succeeded = ?13, failed = ?14, cancelled = ?15, lead = ?16, origin = ?17
WHERE gate = ?18;

-- name: gate_write
-- Inputs: 1-7 of a task's gate: paused, tat, live, running, head, valued, used; 8 gate.
UPDATE fifoq_gates
SET paused = ?1, tat = ?2, live = ?3, running = ?4, head = ?5, valued = ?6, used = ?7
WHERE gate = ?8;

-- name: gate_head
-- Recompute the two parts of a task's head, regardless of the task's own gate.
-- Inputs: 1 gate.
-- Outputs: the first score of the task's offered jobs without a value, the first head of its values.
SELECT
    (SELECT ready FROM fifoq_jobs WHERE gate = ?1 AND value IS NULL AND ready IS NOT NULL ORDER BY ready LIMIT 1),
    (SELECT head FROM fifoq_values WHERE gate = ?1 AND head IS NOT NULL ORDER BY head LIMIT 1);

-- ---- settings of gates ----

-- name: settings_read
-- Inputs: 1 queue.
-- Outputs: gate, override and the settings, of all gates of the queue.
SELECT s.gate, s.override, s."limit", s.value_limit, s.capacity, s.interval, s.burst
FROM fifoq_gates AS g JOIN fifoq_settings AS s ON s.gate = g.gate
WHERE g.queue = ?1;

-- name: settings_write
-- Inputs: 1 gate, 2 override, 3-7 the settings.
INSERT INTO fifoq_settings (gate, override, "limit", value_limit, capacity, interval, burst)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (gate, override) DO UPDATE
SET "limit" = excluded."limit", value_limit = excluded.value_limit, capacity = excluded.capacity,
    interval = excluded.interval, burst = excluded.burst;

-- name: settings_lift
-- Remove the override of a gate.
-- Inputs: 1 gate.
DELETE FROM fifoq_settings WHERE gate = ?1 AND override = 1;

-- ---- gates of values ----

-- name: values_update
-- Update the heads of values whose jobs or numbers of running jobs changed.
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

-- name: values_drop
-- Delete the values that have neither a running nor an offered job.
-- Inputs: 1 gate, 2 a JSON array of [value, …].
DELETE FROM fifoq_values
WHERE gate = ?1 AND running = 0 AND head IS NULL AND value IN (SELECT e.value ->> 0 FROM json_each(?2) AS e);

-- name: values_widen
-- Recompute the heads of all values of a task whose value_limit changed: each is at its limit now, or not.
-- Inputs: 1 gate, 2 value_limit (a huge number for none).
UPDATE fifoq_values AS v
SET head = CASE WHEN running < ?2 THEN (
    SELECT j.ready FROM fifoq_jobs AS j
    WHERE j.gate = ?1 AND j.value = v.value AND j.ready IS NOT NULL ORDER BY j.ready LIMIT 1
) END
WHERE gate = ?1;
