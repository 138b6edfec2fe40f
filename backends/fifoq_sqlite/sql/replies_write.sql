-- Inputs: 1 queue, 2 verb, 3 caller, 4 number, 5 now, 6 body.
INSERT INTO fifoq_replies (queue, verb, caller, number, at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (queue, caller, verb) DO UPDATE SET number = excluded.number, at = excluded.at, body = excluded.body;
