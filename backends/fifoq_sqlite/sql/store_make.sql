-- Inputs: 1 migration, 2 made_by.
INSERT INTO fifoq_store (one, migration, made_by) VALUES (1, ?1, ?2);
