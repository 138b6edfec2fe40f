-- Inputs: 1-3 counter, fence, purged; 4-9 how many jobs are in each state; 10 queue.
UPDATE fifoq_queues
SET counter = ?1, fence = ?2, purged = ?3,
    scheduled = ?4, waiting = ?5, running = ?6, succeeded = ?7, failed = ?8, cancelled = ?9
WHERE queue = ?10;
