-- Inputs: 1 queue, 2 task ('' for the queue's own gate).
INSERT INTO fifoq_gates (queue, task) VALUES (?1, ?2);
