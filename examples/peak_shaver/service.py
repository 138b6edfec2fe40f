"""
The peak shaver's service: a process that does the work of the gateway. Run as many as you like; more may join any time.

    FIFOQ_URL=sqlite:///jobs.db python -m examples.peak_shaver.service

Ctrl-C: it claims no more, lets its jobs finish for up to 25 s (FIFOQ_SHUTDOWN_GRACE), hands the rest back to their
places, and exits. A second Ctrl-C hands them back at once.
"""

import asyncio
import logging

from examples.peak_shaver.tasks import tasks

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    asyncio.run(tasks.worker().run())
