-- Inputs: 1 queue, 2 the latest time that is too old.
DELETE FROM fifoq_replies WHERE queue = ?1 AND at <= ?2;
