-- Enter new jobs without filing them; a row whose id is taken by a filed job has no gate then, and enters nothing.
-- Inputs: one row of values for each job: job, id, queue, id, gate and so on, in the order of the columns; 0 for no key,
-- no value, no owner.
INSERT OR IGNORE INTO fifoq_jobs (
    job, id, gate, key, value, priority, state, seq, created_at, retain, owner, meta, payload, caller, number
)
VALUES (
    ?, ?, iif(EXISTS (SELECT 1 FROM fifoq_jobs WHERE queue = ? AND id = ?), NULL, ?), nullif(?, 0), nullif(?, 0), ?,
    6, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?
);
