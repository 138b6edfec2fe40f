-- Inputs: 1 queue, 2 caller, 3 verb.
-- Outputs: number and body.
SELECT number, body FROM fifoq_replies WHERE queue = ?1 AND caller = ?2 AND verb = ?3;
