-- As if never tried. A halted job keeps its seq.
-- Inputs: 1 a new seq or NULL, 2 job.
UPDATE fifoq_jobs
SET state = 1, halted = 0, seq = coalesce(?1, seq), line = CASE WHEN key IS NULL THEN NULL ELSE coalesce(?1, seq) END,
    held = "unique", since = NULL, kept_until = NULL, kept = 0, attempt = 0, crashes = 0,
    error = NULL, progress = NULL, worker = NULL, started_at = NULL, finished_at = NULL
WHERE job = ?2;
