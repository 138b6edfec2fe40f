-- Whether a job was ever put into a task's gate, so that its row may name it: other gates are removed once they have
-- neither settings nor a pause. Of the gates before this migration that is not known.
ALTER TABLE fifoq_gates ADD COLUMN used INTEGER NOT NULL DEFAULT 1;
