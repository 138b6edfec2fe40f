-- Outputs: migration and made_by of the store.
SELECT migration, made_by FROM fifoq_store;
