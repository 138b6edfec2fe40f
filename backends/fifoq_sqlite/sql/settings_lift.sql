-- Inputs: 1 gate.
DELETE FROM fifoq_settings WHERE gate = ?1 AND override = 1;
