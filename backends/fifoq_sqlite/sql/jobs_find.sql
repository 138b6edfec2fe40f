-- Inputs: 1 the job before the first, 2 the last job, 3-6 state, gate, key, owner (NULL for any), 7 how many.
-- Outputs: records, in order of entry.
SELECT job, id, gate, payload, key, value, priority, delay, in_line, expires, "unique", retain, owner, meta,
    seq, state, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
    result, error, progress, reason, cancel_requested, halted
FROM fifoq_jobs
WHERE job > ?1 AND job <= ?2
    AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR gate = ?4)
    AND (?5 IS NULL OR key = ?5) AND (?6 IS NULL OR owner = ?6)
ORDER BY job LIMIT ?7;
