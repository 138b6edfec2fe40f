-- Inputs: 1 queue, 2 now, 3 how many.
-- Outputs: the jobs whose timers are due, by (time, entry).
SELECT job, id, gate, key, value, retain, state, priority, seq, expires_at, cancel_requested, reason
FROM fifoq_jobs
WHERE queue = ?1 AND at <= ?2 AND at IS NOT NULL
ORDER BY at, job LIMIT ?3;
