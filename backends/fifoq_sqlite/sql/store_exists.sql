-- Outputs: one row if there is a store in this file.
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'fifoq_store';
