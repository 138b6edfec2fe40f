-- Inputs: 1 a JSON array of jobs.
-- Outputs: their records.
SELECT job, id, gate, payload, key, value, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, state, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
    result, error, progress, reason, cancel_requested, halted
FROM fifoq_jobs WHERE job IN (SELECT e.value FROM json_each(?1) AS e);
