"""
The peak shaver's service: a process that runs the gateway's jobs. Start as many as you like, at any time.

    FIFOQ_URL=sqlite:///jobs.db python -m examples.peak_shaver.service

After Ctrl-C it claims no more jobs, waits up to 25 s for its running jobs (FIFOQ_SHUTDOWN_GRACE), returns the others to
their places in the queue, and exits. A second Ctrl-C returns them at once.
"""

import asyncio
import logging

from examples.peak_shaver.tasks import tasks

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    asyncio.run(tasks.worker().run())
