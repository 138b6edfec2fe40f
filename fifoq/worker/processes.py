"""
Runner for functions that need a processor of their own: each runs in a child process, one job at a time per child.

The death of a child hits only its own job. No user data is pickled: jobs and results cross the pipe as msgpack.
"""

import asyncio
import atexit
import contextlib
import importlib
import inspect
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from typing import Any, NamedTuple, cast

from fifoq import codec
from fifoq.errors import ConfigurationError, GiveUp, RetryAfter
from fifoq.record import JobSpec, Lease
from fifoq.task.context import LeaseContext
from fifoq.task.signature import Signature
from fifoq.task.task import Task
from fifoq.worker.outcomes import both, message_of, trace_of
from fifoq.worker.run import (
    Plan,
    ProcessDied,
    RemoteError,
    ResultNotSendable,
    Run,
    Stop,
    Unreadable,
    name_of,
    read,
    write,
)
from fifoq.worker.runners import RunnerContext, Threads
from fifoq.worker.task_factory import run_job

# ---- in the parent ----


class ProcessRunner:
    """
    Runs the functions of tasks with `run_in="process"`, in child processes that are kept for more jobs.

    A function that has to stop is killed with its child, and a new child replaces that one. A child that died under
    its job is an error of that job: it counts an attempt, and is tried again whatever `Retry.on` is.
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
            busy = self._all.difference(idle)
            self._all.clear()
        for child in busy:
            child.kill()  # its thread disposes of it
        for child in idle:
            child.dispose()
        atexit.unregister(self.close)
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
            lease_as_tuple(run.lease),
        ).pack()

    def _run_in_child(self, run: Run, request: bytes, loop: asyncio.AbstractEventLoop) -> bytes:
        child = self._child()
        alive = False
        try:
            with self._lock:
                run.runner_state = child
            if run.stopped is not None:
                raise ProcessDied("stopped before it began")
            with contextlib.suppress(RuntimeError):  # the loop is closed: no timeout either
                loop.call_soon_threadsafe(run.begin)
            result = child.call(request, lambda progress: self._context.report(run, progress))
            alive = True
            return result
        except ProcessDied:
            raise
        except Exception:
            alive = True
            raise
        finally:
            self._done(run, child, alive)

    def _child(self) -> "Child":
        while (idle := self._take_idle()) is not None:
            if idle.alive:
                return idle
            self._drop(idle)  # it died while it was idle, which is no error of a job
        with self._lock:
            if not self._all:
                # This runs before the exit handler of multiprocessing, which waits for children: they ignore SIGTERM.
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

    def _take_idle(self) -> "Child | None":
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _drop(self, child: "Child") -> None:
        with self._lock:
            self._all.discard(child)
        child.dispose()

    def _done(self, run: Run, child: "Child", alive: bool) -> None:
        with self._lock:
            run.runner_state = None
            # If the run was to stop, the child may have been killed a moment after it answered.
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


class Child:
    """One child process and the pipe to it. `call` blocks, in a thread; `kill` may be called from any other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(target=child_main, args=(child_end,), name="fifoq-child", daemon=True)
        self._process.start()
        child_end.close()

    def wait_until_ready(self) -> None:
        """Return when it has started. Raises ProcessDied."""
        self._receive()

    def call(self, request: bytes, progress: Callable[[bytes], None]) -> bytes:
        """Have it run one job; return the result, or raise the error of the function. Raises ProcessDied."""
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

    def dispose(self) -> None:
        """End it, and free its process and pipe."""
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
            raise ResultNotSendable(text)
        case _:
            type, message, trace, kinds = rest
            raise RemoteError(type, message, trace, tuple(_parent_name(name) for name in kinds))


def _parent_name(name: str) -> str:
    """Return the name of a class in this process: the script is `__main__` here and `__mp_main__` in a child."""
    return name.replace("__mp_main__.", "__main__.", 1) if name.startswith("__mp_main__.") else name


# ---- the request ----


class Request(NamedTuple):
    """One job, as it is sent to a child."""

    module: str
    function: str
    queue: str
    worker: str
    takes_context: bool
    max_payload: int
    lease: tuple[Any, ...]

    def pack(self) -> bytes:
        """Encode it."""
        return codec.pack(list(self))

    @classmethod
    def unpack(cls, data: bytes) -> "Request":
        """Decode the bytes of `pack`."""
        return cls(*codec.unpack(data))


def lease_as_tuple(lease: Lease) -> tuple[Any, ...]:
    """Return a lease as a plain tuple of plain values."""
    return (tuple(lease.spec), *lease[1:])


# ---- in a child ----


class Function(NamedTuple):
    """A task's function and signature, imported by a child."""

    call: Callable[..., Any]
    signature: Signature


def child_main(pipe: Connection) -> None:
    """Run the jobs of one parent until it closes the pipe, or dies: the program of a child."""
    # A Ctrl-C reaches every process of the terminal, and a supervisor may signal the whole group: the parent decides
    # when a child ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    functions: dict[tuple[str, str], Function] = {}
    pipe.send_bytes(codec.pack(["ready"]))
    with contextlib.suppress(EOFError, OSError), asyncio.Runner() as runner:
        while True:
            reply = _answer(Request.unpack(pipe.recv_bytes()), pipe, functions, runner)
            pipe.send_bytes(reply)


def _die_with_parent() -> None:
    """End this process with its parent: it would run a job that another worker has claimed by then."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _answer(
    request: Request, pipe: Connection, functions: dict[tuple[str, str], Function], runner: asyncio.Runner
) -> bytes:
    try:
        name = (request.module, request.function)
        if name not in functions:
            functions[name] = _find(request)
        return codec.pack(["returned", _call(functions[name], request, pipe, runner)])
    except BaseException as error:  # a SystemExit is the job's end, not the process's
        return _raised(error)


def _call(function: Function, request: Request, pipe: Connection, runner: asyncio.Runner) -> bytes:
    spec, *rest = request.lease
    lease = Lease(JobSpec(*spec), *rest)
    args, kwargs = read(function.signature.decode, lease.spec.payload)
    if request.takes_context:
        args = (_context(lease, request, pipe), *args)
    value = function.call(*args, **kwargs)
    if inspect.iscoroutine(value):
        value = run_job(runner, value)
    return write(function.signature.encode_result, value)


def _context(lease: Lease, request: Request, pipe: Connection) -> LeaseContext:
    lock = threading.Lock()

    def report(progress: bytes) -> None:
        with lock:
            pipe.send_bytes(codec.pack(["progress", progress]))

    return LeaseContext(lease, request.queue, request.worker, None, report, lambda: False)


def _find(request: Request) -> Function:
    """Import the function. In its module, its name may be that of the registered task."""
    found: Any = importlib.import_module(request.module)
    for part in request.function.split("."):
        found = getattr(found, part)
    if isinstance(found, Task):
        task = cast("Task[Any, Any, Any]", found)
        function = Function(task.function, task.signature)
    else:
        function = Function(found, Signature(found, takes_context=request.takes_context))
    function.signature.limit = request.max_payload
    return function


def _raised(error: BaseException) -> bytes:
    """Return the reply for an error. One that cannot be sent fails the job: no class of it may be tried again."""
    try:
        return _reply_of(error)
    except BaseException as broken:
        return codec.pack(["raised", _encodable(name_of(error)), _encodable(both(error, broken)), "", []])


def _reply_of(error: BaseException) -> bytes:
    match error:
        case RetryAfter():
            return codec.pack(["retry after", float(error.seconds)])
        case GiveUp():
            return codec.pack(["give up", str(error.reason)])
        case Unreadable():
            return codec.pack(["unreadable", str(error)])
        case ResultNotSendable():
            return codec.pack(["unsendable", str(error)])
        case _:
            kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
            return codec.pack(
                [
                    "raised",
                    _encodable(name_of(error)),
                    _encodable(message_of(error)),
                    _encodable(trace_of(error)),
                    kinds,
                ]
            )


def _encodable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
