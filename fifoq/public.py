"""The public names of fifoq, with the modules that they come from. `fifoq` has them all."""

from fifoq.app import Fifoq
from fifoq.errors import (
    BackendBusy,
    BackendCorrupt,
    BackendError,
    BackendFull,
    BackendReadOnly,
    BackendUnavailable,
    ConfigurationError,
    FifoqError,
    GiveUp,
    IdConflict,
    InvalidArguments,
    JobCancelled,
    JobFailed,
    JobNotFound,
    LeaseLost,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    ResultTimeout,
    RetryAfter,
    UnknownTask,
)
from fifoq.job import Job, JobError, Progress
from fifoq.limits import Limit, Rate
from fifoq.operations import BlockedKey, GateStats, KeyPage, Page, QueueStats
from fifoq.record import State
from fifoq.retry import Retry
from fifoq.task.context import Context
from fifoq.task.handle import JobHandle
from fifoq.task.task import NewJob, Task
from fifoq.worker import Worker

__all__ = [
    "BackendBusy",
    "BackendCorrupt",
    "BackendError",
    "BackendFull",
    "BackendReadOnly",
    "BackendUnavailable",
    "BlockedKey",
    "ConfigurationError",
    "Context",
    "Fifoq",
    "FifoqError",
    "GateStats",
    "GiveUp",
    "IdConflict",
    "InvalidArguments",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobHandle",
    "JobNotFound",
    "KeyPage",
    "LeaseLost",
    "Limit",
    "NewJob",
    "OutcomeUnknown",
    "Page",
    "PayloadTooLarge",
    "Progress",
    "QueueFull",
    "QueueStats",
    "Rate",
    "ResultTimeout",
    "Retry",
    "RetryAfter",
    "State",
    "Task",
    "UnknownTask",
    "Worker",
]
