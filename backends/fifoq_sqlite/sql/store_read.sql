-- Outputs: migration, made_by, now, ahead, commits of the store.
SELECT migration, made_by, now, ahead, commits FROM fifoq_store;
