-- Inputs: 1 queue.
-- Outputs: gate, value, running, head of all values.
SELECT v.gate, v.value, v.running, v.head
FROM fifoq_gates AS g JOIN fifoq_values AS v ON v.gate = g.gate
WHERE g.queue = ?1;
