-- The store itself: its one row, with the number of the last migration and the version of fifoq that ran it.

-- name: store_exists
-- Outputs: one row if the file has a store.
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'fifoq_store';

-- name: store_read
-- Outputs: migration and made_by of the store.
SELECT migration, made_by FROM fifoq_store;

-- name: store_make
-- Inputs: 1 migration, 2 made_by.
INSERT INTO fifoq_store (one, migration, made_by) VALUES (1, ?1, ?2);

-- name: store_migrate
-- Inputs: 1 migration, 2 made_by.
UPDATE fifoq_store SET migration = ?1, made_by = ?2;

-- name: store_touch
-- Write to the store without changing it.
UPDATE fifoq_store SET migration = migration;
