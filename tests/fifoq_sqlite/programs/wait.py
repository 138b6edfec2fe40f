"""
Waits on a store: `python wait.py URL SECONDS`, where SECONDS is the time between two polls.

It waits once for each line of standard input: for "change" until a job may be claimable, for the id of a job until that
job has ended. It prints "waiting" as it begins, and then True or the job's state.
"""

import asyncio
import sys

from fifoq_sqlite import SqliteBackend, backend


async def main() -> None:
    backend.POLL_INTERVAL = float(sys.argv[2])
    store = SqliteBackend(sys.argv[1])
    await store.open()
    queue = store.queue("queue")
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        waiting = asyncio.ensure_future(queue.wait(30) if line == "change" else queue.finished(line, 30))
        await asyncio.sleep(0.05)
        print("waiting", flush=True)
        woken = await waiting
        print(woken if isinstance(woken, bool) else woken and woken.state, flush=True)
    await store.close()


asyncio.run(main())
