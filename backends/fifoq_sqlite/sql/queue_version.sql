-- Inputs: 1 queue.
-- Outputs: its version.
SELECT version FROM fifoq_gates WHERE queue = ?1 AND task = '';
