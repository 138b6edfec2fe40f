"""A worker process of the demo. It says a word on standard output once it works, and ends with its parent."""

import asyncio
import os
import signal

from fifoq import Fifoq
from fifoq.cli.demo.child import when_orphaned
from fifoq.cli.demo.moves import Scene, make_tasks


async def work(tasks: Fifoq) -> None:
    """Work until a signal, whatever a user's environment says of queues and widths."""
    async with tasks:
        print("ready", flush=True)
        await tasks.worker(queues=tasks.queues, concurrency=100).run()


if __name__ == "__main__":
    # A signal of its own: the way in which a worker is ended in earnest, too.
    when_orphaned(lambda: os.kill(os.getpid(), signal.SIGTERM))
    asyncio.run(work(make_tasks(Scene.told())[0]))
