-- Inputs: 1 name.
-- Outputs: queue.
SELECT queue FROM fifoq_queues WHERE name = ?1;
