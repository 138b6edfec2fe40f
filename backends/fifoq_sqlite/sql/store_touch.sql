-- Write to the store without changing it.
UPDATE fifoq_store SET migration = migration;
