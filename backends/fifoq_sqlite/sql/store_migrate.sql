-- Inputs: 1 migration, 2 made_by.
UPDATE fifoq_store SET migration = ?1, made_by = ?2;
