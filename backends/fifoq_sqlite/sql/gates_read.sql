-- Inputs: 1 queue.
-- Outputs: the queue's own gate ('') and its tasks', by name.
SELECT gate, task, paused, tat, live, running, head, valued FROM fifoq_gates WHERE queue = ?1 ORDER BY task;
