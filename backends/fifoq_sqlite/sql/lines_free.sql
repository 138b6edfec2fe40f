-- Which keys have nobody in line and are not paused: the next job of such a key is offered as it comes.
-- Inputs: 1 queue, 2 a JSON array of keys.
-- Outputs: a JSON array of those.
SELECT json_group_array(e.value) FROM json_each(?2) AS e
WHERE NOT EXISTS (
    SELECT 1 FROM fifoq_jobs AS j WHERE j.queue = ?1 AND j.key = e.value AND j.line IS NOT NULL
) AND NOT EXISTS (SELECT 1 FROM fifoq_paused_keys AS p WHERE p.queue = ?1 AND p.key = e.value);
