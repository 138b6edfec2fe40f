-- Outputs: name of each queue, in order.
SELECT name FROM fifoq_queues ORDER BY name;
