-- Inputs: 1 queue, 2 a JSON array of [id, token].
-- Outputs: the place in the array and what to know of each job whose token that is.
SELECT e.key, j.job, j.id, j.gate, j.key, j.value, j.retain, j.cancel_requested, j.reason,
    (9 - j.priority) * 281474976710656 + j.seq
FROM json_each(?2) AS e
CROSS JOIN fifoq_jobs AS j ON j.queue = ?1 AND j.id = (e.value ->> 0)
WHERE j.token = (e.value ->> 1);
