"""What a running task may ask of its job. The worker makes the real one; a plain call of a task gets a detached one."""

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Generator
from typing import Any

from fifoq.job import Job


class Context(ABC):
    """
    The job that a task is running for. A task asks for it with its first parameter, and it is filled in:

        @tasks.task
        async def train(ctx: Context, model: str) -> None:
            for epoch in range(10):
                await ctx.progress(epoch, 10, f"epoch {epoch}")
    """

    __slots__ = ()

    @property
    @abstractmethod
    def job(self) -> Job:
        """The job as it was claimed."""

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1; those that were released do not count."""
        return self.job.attempt

    @property
    def meta(self) -> dict[str, str]:
        """What `options(meta=…)` sent along."""
        return self.job.meta

    @property
    @abstractmethod
    def fence(self) -> int:
        """A number that grows with every claim of the queue: a store of yours can refuse writes of an older one."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether the job is to stop: somebody cancelled it, its lease is lost, or the worker shuts down."""

    @property
    @abstractmethod
    def resources(self) -> Any:
        """What the worker's `lifespan` yielded; None without one."""

    @abstractmethod
    def progress(self, done: int, total: int | None = None, note: str = "") -> Coroutine[Any, Any, None]:
        """
        Say how far the job is. It is seen in `Job.progress` with the next heartbeat; only the newest counts.

        It is noted at once: a function that is not async calls it without `await`.
        """


class Noted(Coroutine[Any, Any, None]):
    """What `progress` returns: already done, so that it may be awaited and need not be."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()

    def send(self, value: Any) -> Any:
        raise StopIteration

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None:
        pass


NOTED = Noted()
