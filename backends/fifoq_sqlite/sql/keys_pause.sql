-- Inputs: 1 queue, 2 key, 3 now.
INSERT INTO fifoq_paused_keys (queue, key, since) VALUES (?1, ?2, ?3) ON CONFLICT (queue, key) DO NOTHING;
