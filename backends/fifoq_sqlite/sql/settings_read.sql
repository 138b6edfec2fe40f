-- Inputs: 1 queue.
-- Outputs: gate, override and the settings, of all gates of the queue.
SELECT s.gate, s.override, s."limit", s.value_limit, s.capacity, s.interval, s.burst
FROM fifoq_gates AS g JOIN fifoq_settings AS s ON s.gate = g.gate
WHERE g.queue = ?1;
