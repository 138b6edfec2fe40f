-- Enter new jobs; a row whose id is taken enters nothing.
-- Inputs: one row of values for each job, in the order of the columns; 0 for no key, value, line, ready, owner.
INSERT INTO fifoq_jobs (
    job, queue, id, gate, key, value, priority, state, seq, line, ready, created_at, retain, owner, meta, payload
)
VALUES (?, ?, ?, ?, nullif(?, 0), nullif(?, 0), ?, ?, ?, nullif(?, 0), nullif(?, 0), ?, ?, nullif(?, 0), ?, ?)
ON CONFLICT (queue, id) WHERE queue IS NOT NULL DO NOTHING;
