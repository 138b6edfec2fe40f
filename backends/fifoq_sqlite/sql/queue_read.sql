-- Inputs: 1 name.
-- Outputs: queue and its numbers.
SELECT queue, counter, fence, purged, scheduled, waiting, running, succeeded, failed, cancelled
FROM fifoq_queues WHERE name = ?1;
