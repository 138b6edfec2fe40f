"""
What runs in a child process: one job at a time, over a pipe, as plain data.

It imports only what its parent names, and the parent names only modules of functions that are registered with it.
"""

import asyncio
import contextlib
import importlib
import inspect
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from typing import Any, NamedTuple, cast

from fifoq import codec
from fifoq.errors import GiveUp, RetryAfter
from fifoq.lease import Lease
from fifoq.record import JobSpec
from fifoq.signature import Signature
from fifoq.task import Task
from fifoq.worker.calling import Unreadable, Unsendable, read, write
from fifoq.worker.context import LeaseContext
from fifoq.worker.verdict import message_of, trace_of


class Function(NamedTuple):
    """A task's function, as this process found it."""

    call: Callable[..., Any]
    signature: Signature


class Request(NamedTuple):
    """One job, as it crosses the pipe."""

    module: str
    function: str
    queue: str
    worker: str
    takes_context: bool
    max_payload: int
    lease: tuple[Any, ...]

    def pack(self) -> bytes:
        """Return it as bytes."""
        return codec.pack(list(self))

    @classmethod
    def unpack(cls, data: bytes) -> "Request":
        """Read what `pack` wrote."""
        return cls(*codec.unpack(data))


def lease_as_tuple(lease: Lease) -> tuple[Any, ...]:
    """A lease as a plain tuple of plain values."""
    return (tuple(lease.spec), *lease[1:])


def main(pipe: Connection) -> None:
    """Serve one parent until it closes the pipe, or dies."""
    # A Ctrl-C reaches every process of the terminal, and a supervisor may signal the whole group: the parent decides.
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
    """A child whose parent is gone would run a job that another worker has claimed by then."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _answer(
    request: Request, pipe: Connection, functions: dict[tuple[str, str], Function], runner: asyncio.Runner
) -> bytes:
    try:
        place = (request.module, request.function)
        if place not in functions:
            functions[place] = _find(request)
        return codec.pack(["returned", _call(functions[place], request, pipe, runner)])
    except BaseException as error:  # a SystemExit is the job's end, not the process's
        return _raised(error)


def _call(function: Function, request: Request, pipe: Connection, runner: asyncio.Runner) -> bytes:
    spec, *rest = request.lease
    lease = Lease(JobSpec(*spec), *rest)
    args, kwargs = read(function.signature.decode, lease.spec.payload, request.max_payload)
    if request.takes_context:
        args = (_context(lease, request, pipe), *args)
    value = function.call(*args, **kwargs)
    if inspect.iscoroutine(value):
        value = runner.run(value)
    return write(function.signature.encode_result, value, request.max_payload)


def _context(lease: Lease, request: Request, pipe: Connection) -> LeaseContext:
    lock = threading.Lock()

    def report(progress: bytes) -> None:
        with lock:
            pipe.send_bytes(codec.pack(["progress", progress]))

    return LeaseContext(lease, request.queue, request.worker, None, report, lambda: False)


def _find(request: Request) -> Function:
    """Import the function. A registered task stands under its name in the module in its place."""
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
    match error:
        case RetryAfter():
            return codec.pack(["retry after", float(error.seconds)])
        case GiveUp():
            return codec.pack(["give up", str(error.reason)])
        case Unreadable():
            return codec.pack(["unreadable", str(error)])
        case Unsendable():
            return codec.pack(["unsendable", str(error)])
        case _:
            kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
            return codec.pack(
                ["raised", type(error).__name__, _sendable(message_of(error)), _sendable(trace_of(error)), kinds]
            )


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
