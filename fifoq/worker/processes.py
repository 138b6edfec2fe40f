"""
Functions that need a processor of their own: each runs in a child process, one job at a time per child.

The death of a child hits only its own job. No user data is pickled: jobs and results cross the pipe as msgpack.
"""

import asyncio
import atexit
import contextlib
import logging
import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

from fifoq import codec
from fifoq.errors import ConfigurationError, GiveUp, RetryAfter
from fifoq.worker.calling import Unreadable, Unsendable
from fifoq.worker.child import Request, lease_as_tuple, main
from fifoq.worker.loop import Site
from fifoq.worker.run import Plan, Run, Stop
from fifoq.worker.threads import Threads
from fifoq.worker.verdict import FarError, ProcessDied

log = logging.getLogger("fifoq.worker")


class Child:
    """One child process and the pipe to it. `talk` blocks, in a thread; `kill` may be called from any other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=main, args=(far,), name="fifoq-child", daemon=True)
        self._process.start()
        far.close()

    def wait_until_ready(self) -> None:
        """Return when it has started. Raises ProcessDied."""
        self._receive()

    def talk(self, request: bytes, progress: Callable[[bytes], None]) -> bytes:
        """Have it run one job; return the result, or raise what the function raised. Raises ProcessDied."""
        try:
            self._pipe.send_bytes(request)
        except OSError as error:
            raise self._died() from error
        while True:
            kind, *rest = self._receive()
            if kind == "progress":
                progress(rest[0])
            else:
                return _result(kind, rest)

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def bury(self) -> None:
        """End it, and let go of what is left of it."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> list[Any]:
        try:
            return codec.unpack(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._died() from error

    def _died(self) -> ProcessDied:
        self._process.join(1.0)
        code = self._process.exitcode
        return ProcessDied(
            f"The child process that ran the job died (exit code {code}; below zero is the signal). If it never "
            'started: a script that starts a worker needs `if __name__ == "__main__":` around its start.'
        )


def _result(kind: str, rest: list[Any]) -> bytes:
    match kind, rest:
        case "returned", [bytes(result)]:
            return result
        case "retry after", [seconds]:
            raise RetryAfter(seconds)
        case "give up", [reason]:
            raise GiveUp(reason)
        case "unreadable", [text]:
            raise Unreadable(text)
        case "unsendable", [text]:
            raise Unsendable(text)
        case _:
            type, message, trace, kinds = rest
            raise FarError(type, message, trace, tuple(_as_here(name) for name in kinds))


def _as_here(name: str) -> str:
    """The script that was started is `__main__` here and `__mp_main__` in a child."""
    return name.replace("__mp_main__.", "__main__.", 1) if name.startswith("__mp_main__.") else name


class InProcesses:
    """
    The place of `run_in="process"`.

    A function that has to stop is killed with its child, and another child takes its place. A child that died under
    its job is an error of that job: it counts an attempt, and is tried again whatever `Retry.on` says.
    """

    def __init__(self, site: Site, width: int) -> None:
        self._site = site
        self._threads = Threads("fifoq-child-thread")
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._closed = False
        self.width = width
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        request = self._request(run)
        loop = asyncio.get_running_loop()
        return await self._threads.submit(lambda: self._talk(run, request, loop))

    def halt(self, run: Run, why: Stop) -> None:
        with self._lock:
            if isinstance(run.handle, Child):
                run.handle.kill()

    def abandon(self, run: Run) -> float:
        return 0.0  # its child was killed

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
            self._all.clear()
        for child in busy:
            child.kill()  # its thread buries it
        for child in idle:
            child.bury()
        atexit.unregister(self.close)
        self._threads.close()

    def _request(self, run: Run) -> bytes:
        function = run.plan.function
        return Request(
            function.__module__,
            function.__qualname__,
            run.desk.name,
            self._site.worker,
            run.plan.takes_context,
            self._site.max_payload,
            lease_as_tuple(run.lease),
        ).pack()

    def _talk(self, run: Run, request: bytes, loop: asyncio.AbstractEventLoop) -> bytes:
        child = self._child()
        alive = False
        try:
            with self._lock:
                run.handle = child
            if run.stopped is not None:
                raise ProcessDied("stopped before it began")
            with contextlib.suppress(RuntimeError):  # the loop is closed: no timeout either
                loop.call_soon_threadsafe(run.begin)
            result = child.talk(request, lambda progress: self._site.report(run, progress))
            alive = True
            return result
        except ProcessDied:
            raise
        except Exception:
            alive = True
            raise
        finally:
            self._done(run, child, alive)

    def _child(self) -> Child:
        while (idle := self._take_idle()) is not None:
            if idle.alive:
                return idle
            self._drop(idle)  # it died while it waited: that is no job's fault
        with self._lock:
            if not self._all:
                # Before the exit handler of multiprocessing, which waits for children, and these ignore SIGTERM.
                atexit.register(self.close)
        child = Child()
        with self._lock:
            self._all.add(child)
            closed = self._closed
        if closed:
            child.kill()
        try:
            child.wait_until_ready()
        except ProcessDied:
            self._drop(child)
            raise
        return child

    def _take_idle(self) -> Child | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _drop(self, child: Child) -> None:
        with self._lock:
            self._all.discard(child)
        child.bury()

    def _done(self, run: Run, child: Child, alive: bool) -> None:
        with self._lock:
            run.handle = None
            # One that was told to stop may have been killed a moment after it answered.
            keep = alive and run.stopped is None and not self._closed
            if keep:
                self._idle.append(child)
        if not keep:
            self._drop(child)


def check_function(plan: Plan) -> None:
    """Raise ConfigurationError if a child process could not find the function by its name."""
    name = getattr(plan.function, "__qualname__", "<lambda>")
    if "<" in name:
        raise ConfigurationError(
            f'Task {plan.definition.name!r} has run_in="process", so a child process must be able to import its '
            f"function, but {name!r} is inside another function. Move it to the top level of a module."
        )
