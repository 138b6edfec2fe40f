-- Enter new jobs without filing them.
-- Inputs: one row of values for each job, in the order of the columns; 0 for no key, no value, no owner.
INSERT INTO fifoq_jobs (
    job, id, gate, key, value, priority, state, seq, created_at, retain, owner, meta, payload, caller, number
)
VALUES (?, ?, ?, nullif(?, 0), nullif(?, 0), ?, 6, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?);
