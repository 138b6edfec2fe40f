-- Inputs: 1 queue, 2 key.
DELETE FROM fifoq_paused_keys WHERE queue = ?1 AND key = ?2;
