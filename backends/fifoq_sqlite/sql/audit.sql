-- Audit: all jobs, paused keys and values of a queue. No other statements read a whole queue.

-- name: audit_jobs
-- Inputs: 1 queue.
-- Outputs: the derived columns of all jobs, those from which they are derived, and the queue, in order of entry.
SELECT job, id, gate, key, value, priority, state, seq, line, ready, at, since, held, kept_until,
    due_at, expires_at, "unique", token, halted, finished_at, queue
FROM fifoq_jobs WHERE job BETWEEN ?1 << 40 AND (?1 + 1 << 40) - 1 ORDER BY job;

-- name: audit_paused_keys
-- Inputs: 1 queue.
-- Outputs: the paused keys.
SELECT key FROM fifoq_paused_keys WHERE queue = ?1;

-- name: audit_values
-- Inputs: 1 queue.
-- Outputs: gate, value, running, head of all values.
SELECT v.gate, v.value, v.running, v.head
FROM fifoq_gates AS g JOIN fifoq_values AS v ON v.gate = g.gate
WHERE g.queue = ?1;
