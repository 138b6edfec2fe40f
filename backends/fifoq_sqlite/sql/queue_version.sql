-- Inputs: 1 queue, 2 the last entry that may be.
-- Outputs: its version: as stored, and one for each job that is not filed.
SELECT g.version + (
    SELECT count(*) FROM fifoq_jobs AS j
    WHERE j.job > (?1 << 40 | g.counter) AND j.job <= (?1 << 40 | ?2)
) FROM fifoq_gates AS g WHERE g.queue = ?1 AND g.task = '';
