-- Inputs: 1 queue.
-- Outputs: the paused keys.
SELECT key FROM fifoq_paused_keys WHERE queue = ?1;
