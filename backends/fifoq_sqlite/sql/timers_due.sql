-- Inputs: 1 queue, 2 now, 3 how many.
-- Outputs: the jobs whose timers are due, by (time, entry).
SELECT job, state, gate, key, value, priority, seq, due_at, expires_at, cancel_requested, reason, retain
FROM fifoq_jobs
WHERE queue = ?1 AND at <= ?2 AND at IS NOT NULL
ORDER BY at, job LIMIT ?3;
