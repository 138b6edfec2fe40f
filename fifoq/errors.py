"""
All errors that fifoq raises, in one tree. A message names the event, the object it is about, and the next step.

    FifoqError
    ├── ConfigurationError        the code or the settings are wrong; nothing was sent
    │   └── UnknownTask           no task of that name is registered here
    ├── InvalidArguments          the arguments do not fit the task's signature (ValueError)
    │   └── PayloadTooLarge       they fit, but are larger than may be sent
    ├── QueueFull                 the queue or the task is at its capacity; try again after retry_after seconds
    ├── IdConflict                the id is taken by a job with another task or other arguments
    ├── JobNotFound               no such job, or it is no longer kept
    ├── JobFailed                 the awaited job failed
    ├── JobCancelled              the awaited job was cancelled
    ├── ResultTimeout             the awaited job did not end in time (TimeoutError)
    ├── LeaseLost                 the job no longer belongs to this worker
    └── BackendError              the store did not carry out a call
        ├── BackendUnavailable    it cannot be reached
        ├── OutcomeUnknown        it was reached, but sent no reply: the call may have taken effect
        ├── BackendBusy           it is locked by others for too long
        ├── BackendFull           it has no room left
        ├── BackendReadOnly       it takes no writes
        └── BackendCorrupt        its contents cannot be read

`RetryAfter` and `GiveUp` stand apart: a task raises them to steer its own outcome.
"""


class FifoqError(Exception):
    """The root of all errors that fifoq raises."""


class ConfigurationError(FifoqError):
    """The code or the settings are wrong. Nothing was sent."""


class UnknownTask(ConfigurationError):
    """No task of that name is registered in this process."""


class InvalidArguments(FifoqError, ValueError):
    """The arguments do not fit the task's signature, or cannot be sent. Nothing was enqueued."""

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class PayloadTooLarge(InvalidArguments):
    """The encoded arguments are larger than the limit. Nothing was enqueued."""


class QueueFull(FifoqError):
    """
    The queue or the task is at its capacity. Nothing of the batch was enqueued.

    `retry_after` suggests, in seconds, when to try again; it is None when the batch alone is larger than the capacity.
    """

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class IdConflict(FifoqError):
    """The id is taken by a job with another task or other arguments. Nothing of the batch was enqueued."""

    def __init__(self, message: str, *, id: str) -> None:
        super().__init__(message)
        self.id = id


class JobNotFound(FifoqError):
    """There is no such job, or it ended and is no longer kept."""

    def __init__(self, id: str, queue: str | None = None) -> None:
        where = f"queue {queue!r}" if queue else "the queues of this app"
        super().__init__(
            f"There is no job {id!r} in {where}. If it has ended, it was removed after its retention (retain=)."
        )
        self.id = id


class JobFailed(FifoqError):
    """The awaited job failed. `type` and `error` name the exception that the task raised; `traceback` is its text."""

    def __init__(self, id: str, task: str, *, type: str, error: str, traceback: str | None = None) -> None:
        super().__init__(f"Job {id} of task {task!r} failed with {type}: {error}")
        self.id = id
        self.task = task
        self.type = type
        self.error = error
        self.traceback = traceback


class JobCancelled(FifoqError):
    """The awaited job was cancelled, for `reason`."""

    def __init__(self, id: str, task: str, *, reason: str) -> None:
        super().__init__(f"Job {id} of task {task!r} was cancelled: {reason}")
        self.id = id
        self.task = task
        self.reason = reason


class ResultTimeout(FifoqError, TimeoutError):
    """The awaited job did not end in time. It goes on: await its handle again, or cancel it."""

    def __init__(self, id: str, task: str, timeout: float) -> None:
        super().__init__(
            f"Job {id} of task {task!r} did not end within {timeout:g} s. It goes on: await it again, or cancel it."
        )
        self.id = id
        self.task = task
        self.timeout = timeout


class LeaseLost(FifoqError):
    """The job no longer belongs to this worker: its lease ended and another may run it."""


class BackendError(FifoqError):
    """
    The store did not carry out a call.

    `lasting`: an operator has to act first, so that a call is not repeated.
    """

    lasting = False


class BackendUnavailable(BackendError):
    """The store cannot be reached. Nothing took effect."""


class OutcomeUnknown(BackendError):
    """The store sent no reply: the call may have taken effect. It is safe to repeat it with the same job id."""


class BackendBusy(BackendError):
    """The store is locked by others for too long. Nothing took effect."""


class BackendFull(BackendError):
    """The store has no room left. Nothing took effect."""


class BackendReadOnly(BackendError):
    """The store takes no writes. Nothing took effect."""


class BackendCorrupt(BackendError):
    """The contents of the store cannot be read. Nothing is repaired or recreated silently."""


class RetryAfter(Exception):
    """Raised by a task: try this job again in so many seconds, instead of after the back-off. It counts an attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"retry after {seconds:g} s")
        self.seconds = seconds


class GiveUp(Exception):
    """Raised by a task: fail this job now, whatever attempts are left."""

    def __init__(self, reason: str = "given up") -> None:
        super().__init__(reason)
        self.reason = reason
