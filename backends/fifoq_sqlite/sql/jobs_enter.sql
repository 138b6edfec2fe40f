-- Enter new jobs; a row whose id is taken enters nothing.
-- Inputs: one row of values for each job, in the order of the columns.
INSERT INTO fifoq_jobs (
    job, queue, id, gate, key, value, priority, state, seq, line, ready, created_at, retain, owner, meta, payload
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (queue, id) WHERE queue IS NOT NULL DO NOTHING;
