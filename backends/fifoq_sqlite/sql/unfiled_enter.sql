-- Enter new jobs without filing them.
-- Inputs: one row of values for each job, in the order of the columns.
INSERT INTO fifoq_jobs (
    job, id, gate, key, value, priority, state, seq, created_at, retain, owner, meta, payload, caller, number
)
VALUES (?, ?, ?, ?, ?, ?, 6, ?, ?, ?, ?, ?, ?, ?, ?);
