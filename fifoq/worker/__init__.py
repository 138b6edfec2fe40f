"""The worker: claims jobs, runs them, extends their leases and settles them, on any backend."""

from fifoq.worker.settings import WorkerSettings, Workplace
from fifoq.worker.worker import Worker

__all__ = ["Worker", "WorkerSettings", "Workplace"]
