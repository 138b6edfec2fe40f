-- The store: queues, their gates, their jobs, and what callers were last told.
-- Times are whole microseconds since 1970-01-01 UTC; states are 0 scheduled, 1 waiting, 2 running, 3 succeeded,
-- 4 failed, 5 cancelled.

-- One row: the number of the last migration, and the version of fifoq that ran it.
CREATE TABLE fifoq_store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    migration INTEGER NOT NULL,
    made_by TEXT NOT NULL
);

CREATE TABLE fifoq_queues (
    queue INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);

-- A queue's own gate (`task` is '') and one for each of its tasks, in one table: a commit writes few pages.
--   head     of a task: the smallest score that it would offer, its own gate and the queue's set aside
--   valued   of a task: some job of it had a value
-- and of a queue alone:
--   version  counts the transactions that wrote to the queue
--   now      the last time that was used; `ahead`: how far time runs ahead of the host's clock, because that was set
--            back
--   counter  the last number given out as an entry or a seq; it is never set back, so none is given twice
CREATE TABLE fifoq_gates (
    gate INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL,
    task TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0,
    tat INTEGER NOT NULL DEFAULT 0,
    live INTEGER NOT NULL DEFAULT 0,
    running INTEGER NOT NULL DEFAULT 0,
    head INTEGER,
    valued INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    now INTEGER NOT NULL DEFAULT 0,
    ahead INTEGER NOT NULL DEFAULT 0,
    counter INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    purged INTEGER NOT NULL DEFAULT 0,
    scheduled INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX fifoq_gates_task ON fifoq_gates (queue, task);

-- What the code declared of a gate (`override` 0), and what an operator says instead (1).
CREATE TABLE fifoq_settings (
    gate INTEGER NOT NULL,
    override INTEGER NOT NULL,
    "limit" INTEGER,
    value_limit INTEGER,
    capacity INTEGER,
    interval INTEGER,
    burst INTEGER NOT NULL,
    PRIMARY KEY (gate, override)
) WITHOUT ROWID;

-- The gate of one value of a task's `by`: there while it runs or offers a job. `head` is the score of the first it
-- offers, and empty while it is at its limit.
CREATE TABLE fifoq_values (
    gate INTEGER NOT NULL,
    value TEXT NOT NULL,
    running INTEGER NOT NULL,
    head INTEGER,
    PRIMARY KEY (gate, value)
) WITHOUT ROWID;
CREATE INDEX fifoq_values_head ON fifoq_values (gate, head) WHERE head IS NOT NULL;

-- `job` is queue << 40 | entry: jobs of a queue lie together, in order of entry.
-- Each of these is empty unless it is true, and has an index of the rows where it is not:
--   line        its seq, while it is live and has a key
--   ready       its score, while it is offered
--   at          its timer
--   since       while its key may be blocked by it: since when it is halted or its due_at was set
--   held        its unique text, while it holds it
--   kept_until  when it may be purged
--
-- A job that was put alone is not filed at once. It has no queue, state 6, no place in any index, and tells which call
-- put it. Its put writes this one page; whoever next does anything else to the queue files all such jobs together.
-- They are the ones behind the queue's counter, and what the queue's and the tasks' gates count leaves them out.
CREATE TABLE fifoq_jobs (
    job INTEGER PRIMARY KEY,
    queue INTEGER,
    id TEXT NOT NULL,
    gate INTEGER NOT NULL,
    key TEXT,
    value TEXT,
    priority INTEGER NOT NULL,
    state INTEGER NOT NULL,
    seq INTEGER,
    line INTEGER,
    ready INTEGER,
    at INTEGER,
    since INTEGER,
    held TEXT,
    kept_until INTEGER,
    due_at INTEGER,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    owner TEXT,
    meta BLOB NOT NULL,
    payload BLOB NOT NULL,
    delay INTEGER NOT NULL DEFAULT 0,
    in_line INTEGER NOT NULL DEFAULT 0,
    expires INTEGER,
    "unique" TEXT,
    token TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    halted INTEGER NOT NULL DEFAULT 0,
    kept INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    finished_at INTEGER,
    worker TEXT,
    result BLOB,
    error BLOB,
    progress BLOB,
    reason TEXT,
    caller TEXT,
    number INTEGER
);
CREATE UNIQUE INDEX fifoq_jobs_id ON fifoq_jobs (queue, id) WHERE queue IS NOT NULL;
CREATE INDEX fifoq_jobs_ready ON fifoq_jobs (gate, value, ready) WHERE ready IS NOT NULL;
CREATE INDEX fifoq_jobs_line ON fifoq_jobs (queue, key, line) WHERE line IS NOT NULL;
CREATE INDEX fifoq_jobs_at ON fifoq_jobs (queue, at) WHERE at IS NOT NULL;
-- The oldest waiting job is the first here or the first ready one of a task: most jobs need no entry for it.
CREATE INDEX fifoq_jobs_waiting ON fifoq_jobs (queue, seq)
WHERE state = 1 AND (ready IS NULL OR value IS NOT NULL OR priority <> 0);
CREATE INDEX fifoq_jobs_since ON fifoq_jobs (queue, since, key) WHERE since IS NOT NULL;
CREATE UNIQUE INDEX fifoq_jobs_held ON fifoq_jobs (queue, held) WHERE held IS NOT NULL;
CREATE INDEX fifoq_jobs_kept ON fifoq_jobs (queue, kept_until) WHERE kept_until IS NOT NULL;

CREATE TABLE fifoq_paused_keys (
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX fifoq_paused_keys_since ON fifoq_paused_keys (queue, since, key);

-- Each caller's last call of each verb, and the reply.
CREATE TABLE fifoq_replies (
    reply INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    verb TEXT NOT NULL,
    caller TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX fifoq_replies_caller ON fifoq_replies (queue, caller, verb);
