-- Inputs: 1 migration, 2 made_by, 3 now.
INSERT INTO fifoq_store (one, migration, made_by, now, ahead, commits) VALUES (1, ?1, ?2, ?3, 0, 0);
