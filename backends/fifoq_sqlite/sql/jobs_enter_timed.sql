-- Enter new jobs that wait for a time, or are unique.
-- Inputs: one row of values for each job, in the order of the columns.
INSERT INTO fifoq_jobs (
    job, queue, id, gate, key, value, priority, state, seq, line, ready, created_at, retain, owner, meta, payload,
    at, since, held, due_at, expires_at, delay, in_line, expires, "unique"
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
