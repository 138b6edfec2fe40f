-- Inputs: 1 queue, 2 now, 3 how many.
-- Outputs: job and state of the ended jobs whose time is over, by (kept_until, entry).
SELECT job, state FROM fifoq_jobs
WHERE queue = ?1 AND kept_until <= ?2 AND kept_until IS NOT NULL
ORDER BY kept_until, job LIMIT ?3;
