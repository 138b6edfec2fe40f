-- Inputs: 1 queue.
-- Outputs: all that is derived of each job, and what from, in order of entry.
SELECT job, id, gate, key, value, priority, state, seq, line, ready, at, since, held, kept_until,
    due_at, expires_at, "unique", token, halted, finished_at
FROM fifoq_jobs WHERE job BETWEEN ?1 << 40 AND (?1 + 1 << 40) - 1 AND queue = ?1 ORDER BY job;
