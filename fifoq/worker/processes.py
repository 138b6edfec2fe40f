"""
Runner for functions that need a processor of their own: each runs in a child process, one job at a time per child.

The death of a child hits only its own job. No user data is pickled: jobs and results cross the pipe as msgpack.
`fifoq.worker.child` is the program of a child.
"""

import asyncio
import contextlib
import fcntl
import math
import os
import pickle
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing import Pipe, resource_tracker, spawn
from typing import Any, cast

from fifoq import codec
from fifoq.errors import GiveUp, RetryAfter
from fifoq.fork_safety import unwatch_forks, watch_forks
from fifoq.main_guard import GUARD
from fifoq.task.waiting import waits
from fifoq.worker.child import SIGNALS, ChildProgram, Request, lease_as_tuple
from fifoq.worker.run import ProcessDied, RemoteError, ResultNotSendable, Run, Stop, Unreadable
from fifoq.worker.runners import RunnerContext, Threads

START_TIMEOUT = 60.0
"""Seconds that a child may take to start and to import the program, for a task without a timeout of its own."""
SHORTEST_START = 5.0
"""Seconds that it may take at least, however short the timeout of the task. The function then has its whole timeout."""
DEATH_TIMEOUT = 1.0
"""Seconds for which the end of a killed child is awaited."""
LOOK_PAUSE = 1.0
"""Seconds between two looks whether a silent child has ended."""


class ProcessRunner:
    """
    Runs the functions of tasks with `run_in="process"`, in child processes that are kept for more jobs.

    The start of a child is part of the run that needs it: it is bounded by the timeout, and stopped like the
    function. A function that has to stop is killed with its child, and with the programs that it has started; a new
    child replaces that one. A child that died under its job is an error of that job: it counts an attempt, and is tried
    again whatever `Retry.on` is.
    """

    def __init__(self, context: RunnerContext, width: int) -> None:
        self._context = context
        self._threads = Threads("fifoq-child-thread")
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._closed = False
        self.width = width
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        run.begin(at_least=SHORTEST_START)
        request = self._request(run)
        loop = asyncio.get_running_loop()
        return await self._threads.submit(lambda: self._run_in_child(run, request, loop))

    def stop(self, run: Run, why: Stop) -> None:
        with self._lock:
            if isinstance(run.runner_state, Child):
                run.runner_state.kill()

    def abandon(self, run: Run) -> float:
        return 0.0  # its child was killed

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            children = list(self._all)
            self._all.clear()
        for child in children:
            child.kill()
        for child in idle:
            child.dispose()  # the thread of a busy one does that
        self._threads.close()

    def _request(self, run: Run) -> bytes:
        function = run.plan.function
        return Request(
            function.__module__,
            function.__qualname__,
            run.queue,
            self._context.worker,
            run.plan.takes_context,
            run.plan.definition.signature.limit,
            [each[1:] for each in waits.above(run.job)[1:] if each.connection is run.plan.connection],
            lease_as_tuple(run.lease),
        ).pack()

    def _run_in_child(self, run: Run, request: bytes, loop: asyncio.AbstractEventLoop) -> bytes:
        while True:
            child = self._take_idle() or self._start_child()
            alive = False
            try:
                with self._lock:
                    run.runner_state = child
                if run.stopped is not None:
                    raise ProcessDied("stopped before it began")
                child.wait_until_ready(START_TIMEOUT if run.plan.timeout is None else math.inf)
                with contextlib.suppress(RuntimeError):  # the loop is closed: no timeout either
                    loop.call_soon_threadsafe(run.begin)
                result = child.call(request, lambda progress: self._context.report(run, progress), run.notes_wait)
                alive = True
                return result
            except DiedIdle:
                if run.stopped is not None:
                    raise
            except ProcessDied:
                if run.stopped is Stop.TIMEOUT and not child.ready:
                    raise _started_too_slowly(run) from None
                raise
            except Exception:
                alive = child.ready
                raise
            finally:
                waits.forget(run.job)
                self._done(run, child, alive)

    def _take_idle(self) -> "Child | None":
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None or child.alive:
                return child
            self._drop(child)

    def _start_child(self) -> "Child":
        child = Child()
        with self._lock:
            self._all.add(child)
            closed = self._closed
        if closed:
            child.kill()
        return child

    def _drop(self, child: "Child") -> None:
        with self._lock:
            self._all.discard(child)
        child.dispose()

    def _done(self, run: Run, child: "Child", alive: bool) -> None:
        with self._lock:
            run.runner_state = None
            # If the run was to stop, the child may have been killed a moment after it answered.
            keep = alive and not child.spent and run.stopped is None and not self._closed
            if keep:
                self._idle.append(child)
        if not keep:
            self._drop(child)


def _started_too_slowly(run: Run) -> TimeoutError:
    definition = run.plan.definition
    return TimeoutError(
        f"Task {definition.name!r} has a timeout of {definition.timeout:g} s, and its child process took longer to "
        f"start and to import the program; it has {SHORTEST_START:g} s at least. Give the task more time, or move slow "
        f"work out of the imports. If the import never ends, write `{GUARD}` above the lines that start the program."
    )


def _never_started(seconds: float) -> ProcessDied:
    return ProcessDied(
        f"The child process was killed: after {seconds:g} s it still imported the program. If that never ends, write "
        f"`{GUARD}` above the lines that start the program. If it takes so long, give the task a timeout=, which "
        "bounds the start of its child, too."
    )


class DiedIdle(ProcessDied):
    """The child died between two jobs. That is no error of the next one, which needs another child."""


class Child:
    """
    One child process, the pipe to it, and its lifeline: a pipe that is never written to, and ends with this process.

    `wait_until_ready` and `call` block, in a thread; `kill` may be called from any other. Raises ProcessDied.
    """

    def __init__(self) -> None:
        self.ready = False
        """It has imported the program, and takes jobs."""
        self.spent = False
        """Its last job left programs behind, which were killed: it must not run another one."""
        self._used = False
        self._lock = threading.Lock()
        self._disposed = False
        self._pipe, child_pipe = Pipe()
        child_lifeline, lifeline = os.pipe()
        self._lifeline = open(lifeline, "wb")  # noqa: SIM115 - it is closed by `forked`
        watch_forks(self)
        try:
            self._process = _spawn(child_pipe.fileno(), child_lifeline)
        except OSError as error:
            self.forked()
            raise ProcessDied(f"A child process could not be started: {error}.") from error
        finally:
            child_pipe.close()
            os.close(child_lifeline)
        self._preparation = _preparation(child_lifeline)

    def wait_until_ready(self, timeout: float) -> None:
        """
        Return when it takes jobs; kill it after `timeout` seconds.

        Raises ProcessDied, or the error with which it imported the program.
        """
        if self.ready:
            return
        with self._death_raised(), open(self._pipe.fileno(), "wb", closefd=False) as pipe:
            pipe.write(self._preparation)
        kind, *rest = self._receive(timeout)
        if kind != "ready":
            _result(kind, rest)
        self.ready = True

    def call(
        self, request: bytes, progress: Callable[[bytes], None], wait: Callable[[bool, Sequence[Any]], None]
    ) -> bytes:
        """
        Have it run one job; return the result, or raise the error of the function. Raises ProcessDied.

        `progress` and `wait` are called for each report of the job.
        """
        used, self._used = self._used, True
        try:
            with self._death_raised():
                self._pipe.send_bytes(request)
            self._receive()  # "begun"
        except ProcessDied as error:
            if used:
                raise DiedIdle from error
            raise
        while True:
            kind, *rest = self._receive()
            if kind == "progress":
                progress(rest[0])
            elif kind == "waits":
                wait(rest[0], rest[1:])
            elif kind == "spent":
                self.spent = True
            else:
                return _result(kind, rest)

    @property
    def alive(self) -> bool:
        """Whether an idle one lives. It sends nothing, so there is something to read only at its end."""
        return not self._pipe.poll()

    def kill(self) -> None:
        """End it at once, with the programs that it has started."""
        with self._lock:
            if not self._disposed:  # until then its number is its own, even if it is dead
                _kill(self._process.pid)

    def dispose(self) -> None:
        """End it, and free its process and pipes."""
        self._end()
        self.forked()

    def forked(self) -> None:
        """Close the pipes. A fork of this process that held the lifeline would keep the child alive."""
        unwatch_forks(self)
        self._pipe.close()
        self._lifeline.close()

    def _receive(self, timeout: float = math.inf) -> list[Any]:
        """Return its next message. A process that it has forked may hold the pipe, so its end is looked for, too."""
        end = time.monotonic() + timeout
        with self._death_raised():
            while not self._pipe.poll(max(0.0, min(end - time.monotonic(), LOOK_PAUSE))):
                if _has_ended(self._process.pid):
                    raise EOFError
                if time.monotonic() >= end:
                    self._end()
                    raise _never_started(timeout)
            return codec.unpack(self._pipe.recv_bytes())

    @contextlib.contextmanager
    def _death_raised(self) -> Generator[None]:
        """Turn the errors of a broken pipe into ProcessDied."""
        try:
            yield
        except (EOFError, OSError) as error:
            raise self._died() from error

    def _end(self) -> int | None:
        """Kill it, and return its exit code."""
        self.kill()
        with self._lock:
            self._disposed = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(DEATH_TIMEOUT)
        return None

    def _died(self) -> ProcessDied:
        code = self._end()
        ended = f"(exit code {code}; below zero is the signal)"
        if self.ready:
            return ProcessDied(f"The child process that ran the job died {ended}.")
        return ProcessDied(
            f"The child process for the job died {ended} while it imported the program. If the program ended it, write "
            f"`{GUARD}` above the lines that start the program."
        )


def _spawn(pipe: int, lifeline: int) -> "subprocess.Popen[bytes]":
    """Start a child as `multiprocessing` does, but in a process group of its own, and tied to this process."""
    tracker = cast("int", resource_tracker.getfd())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the child inherits it
    try:
        process = subprocess.Popen(
            spawn.get_command_line(tracker_fd=tracker, pipe_handle=pipe),
            stdin=subprocess.DEVNULL,
            pass_fds=[pipe, lifeline, tracker],
            process_group=0,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if hasattr(fcntl, "F_SETSIG"):
        # On Linux the kernel kills the group at the end of the lifeline. A thread of the child does that on every
        # system, but not before it runs, nor while a C function holds the interpreter.
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -process.pid)
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    return process


def _preparation(lifeline: int) -> bytes:
    """Return the two pickles that `multiprocessing.spawn` reads: without the program, which the child imports later."""
    data = spawn.get_preparation_data("fifoq-child")
    data["authkey"] = bytes(data["authkey"])
    main = {name: data.pop(name) for name in ("init_main_from_name", "init_main_from_path") if name in data}
    return pickle.dumps(data) + pickle.dumps(ChildProgram(lifeline, main))


def _kill(pid: int) -> None:
    """Kill a child and its process group, which it has left for an instant if it is at the end of a job."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return False
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


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
            raise ResultNotSendable(text)
        case _:
            type, message, trace, kinds = rest
            raise RemoteError(type, message, trace, tuple(_parent_name(name) for name in kinds))


def _parent_name(name: str) -> str:
    """Return the name of a class in this process: the script is `__main__` here and `__mp_main__` in a child."""
    return name.replace("__mp_main__.", "__main__.", 1) if name.startswith("__mp_main__.") else name
