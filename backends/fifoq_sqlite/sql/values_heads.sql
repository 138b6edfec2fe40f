-- Inputs: 1 gate, 2 how many.
-- Outputs: value, running and head of the values that offer the oldest jobs.
SELECT value, running, head FROM fifoq_values WHERE gate = ?1 AND head IS NOT NULL ORDER BY head LIMIT ?2;
