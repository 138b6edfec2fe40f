-- Inputs: 1 now, 2 ahead.
UPDATE fifoq_store SET now = ?1, ahead = ?2, commits = commits + 1;
