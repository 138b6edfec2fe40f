"""
The task factory of a worker's event loop: an exit in an asyncio task that a job made ends that job, not the loop.

asyncio ends the loop when a SystemExit or KeyboardInterrupt leaves a task, and all jobs of the worker with it. The
executor keeps those of a job's own task; this keeps those of the tasks that the job makes, in a TaskGroup for example.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from fifoq.task.waiting import Holder, running

Factory = Callable[..., Any]


class ExitInTask(BaseException):
    """A task that a job made raised SystemExit or KeyboardInterrupt, which is the cause of this."""


class JobTaskFactory:
    """A task factory that makes tasks as the one before it did, but contains the exits of tasks that a job makes."""

    def __init__(self, before: Factory | None) -> None:
        self._before = before
        self._users = 0

    @classmethod
    def install(cls, loop: asyncio.AbstractEventLoop) -> "JobTaskFactory":
        """Make it the task factory of the loop, or share the one that is. Each `install` needs one `uninstall`."""
        factory = loop.get_task_factory()
        if not isinstance(factory, JobTaskFactory):
            factory = cls(factory)
            loop.set_task_factory(factory)
        factory._users += 1
        return factory

    def uninstall(self, loop: asyncio.AbstractEventLoop) -> None:
        """Undo one `install`. One that other code has wrapped meanwhile stays, and does no harm."""
        self._users -= 1
        if not self._users and loop.get_task_factory() is self:
            loop.set_task_factory(self._before)

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **arguments: Any) -> Any:
        if running.get() is not None:
            coroutine = _Contained(coroutine)
        if self._before is None:
            return asyncio.Task(coroutine, loop=loop, **arguments)
        return self._before(loop, coroutine, **arguments)


def run_job(runner: asyncio.Runner, coroutine: Coroutine[Any, Any, Any], holder: Holder) -> Any:
    """Run the coroutine of a job in a loop of its own, and return its result."""
    loop = runner.get_loop()
    if not isinstance(loop.get_task_factory(), JobTaskFactory):
        JobTaskFactory.install(loop)

    async def job() -> Any:
        running.set(holder)
        return await coroutine

    return runner.run(job())


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises ExitInTask in place of an exit. All else is that of the coroutine in it."""

    # An object and no `async def`: a coroutine of its own that is cancelled before its first step would leave the inner
    # one unawaited, which Python reports.
    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._coroutine.__await__())

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _contained(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _contained(raised) from raised

    def close(self) -> None:
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)


def _contained(error: BaseException) -> ExitInTask:
    return ExitInTask(f"a task that the job made raised {type(error).__name__}: {error}")
