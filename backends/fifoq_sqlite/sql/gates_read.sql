-- Inputs: 1 queue.
-- Outputs: the queue's own gate ('') and its tasks', by name.
SELECT gate, task, paused, tat, live, running, head, valued,
    version, now, ahead, counter, fence, purged, scheduled, waiting, succeeded, failed, cancelled
FROM fifoq_gates WHERE queue = ?1 ORDER BY task;
