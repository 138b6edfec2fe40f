-- Inputs: 1-6 of a task: paused, tat, live, running, head, valued; 7 gate.
UPDATE fifoq_gates SET paused = ?1, tat = ?2, live = ?3, running = ?4, head = ?5, valued = ?6 WHERE gate = ?7;
