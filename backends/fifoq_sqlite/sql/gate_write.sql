-- Inputs: 1 paused, 2 tat, 3 live, 4 running, 5 head, 6 valued, 7 gate.
UPDATE fifoq_gates SET paused = ?1, tat = ?2, live = ?3, running = ?4, head = ?5, valued = ?6 WHERE gate = ?7;
