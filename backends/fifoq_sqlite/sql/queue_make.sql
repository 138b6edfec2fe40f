-- Inputs: 1 name.
INSERT INTO fifoq_queues (name) VALUES (?1);
