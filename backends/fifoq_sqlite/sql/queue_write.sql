-- Inputs: 1-4 of a queue's own gate: paused, tat, live, running; 5-10 version, now, ahead, counter, fence, purged;
-- 11-15 how many jobs are scheduled, waiting, succeeded, failed, cancelled; 16 gate.
UPDATE fifoq_gates
SET paused = ?1, tat = ?2, live = ?3, running = ?4,
    version = ?5, now = ?6, ahead = ?7, counter = ?8, fence = ?9, purged = ?10,
    scheduled = ?11, waiting = ?12, succeeded = ?13, failed = ?14, cancelled = ?15
WHERE gate = ?16;
