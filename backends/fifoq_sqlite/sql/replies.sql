-- The last reply of each verb of a queue to each caller.

-- name: replies_read
-- Inputs: 1 queue, 2 caller, 3 verb.
-- Outputs: number and body.
SELECT number, body FROM fifoq_replies WHERE queue = ?1 AND caller = ?2 AND verb = ?3;

-- name: replies_write
-- Inputs: 1 queue, 2 verb, 3 caller, 4 number, 5 now, 6 body.
INSERT INTO fifoq_replies (queue, verb, caller, number, at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (queue, caller, verb) DO UPDATE SET number = excluded.number, at = excluded.at, body = excluded.body;

-- name: replies_purge
-- Inputs: 1 queue, 2 the latest time of an old reply.
DELETE FROM fifoq_replies WHERE queue = ?1 AND at <= ?2;
