"""
The program of a child process: it runs the jobs of one worker, one at a time, and ends with that worker.

It leads a process group of its own. The programs that a job starts are in that group too, and are killed with it.
"""

import asyncio
import contextlib
import importlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextvars import copy_context
from multiprocessing import spawn
from multiprocessing.connection import Connection
from multiprocessing.process import current_process
from types import FrameType
from typing import Any, NamedTuple, cast

from fifoq import codec
from fifoq.errors import ConfigurationError, GiveUp, RetryAfter
from fifoq.main_guard import GUARD, Imports, importing
from fifoq.record import JobSpec, Lease
from fifoq.task.context import LeaseContext
from fifoq.task.signature import Signature
from fifoq.task.task import Task
from fifoq.task.waiting import PlacedJob, running
from fifoq.worker.outcomes import both, message_of, trace_of
from fifoq.worker.run import ResultNotSendable, Unreadable, name_of, read, write
from fifoq.worker.task_factory import run_job

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""A Ctrl-C reaches every process of a terminal, and a supervisor may signal all of a service: the worker decides when a
child ends. The worker starts a child with these blocked, so that none arrives before the child is ready for it."""


BEGUN = codec.pack(["begun"])


class Request(NamedTuple):
    """One job, as it is sent to a child."""

    module: str
    function: str
    queue: str
    worker: str
    takes_context: bool
    max_payload: int
    above: Sequence[Sequence[str | None]]
    """The jobs of its Fifoq that wait for this one, in the worker's process: their PlacedJobs, from `queue` on."""
    lease: tuple[Any, ...]

    @property
    def spec(self) -> JobSpec:
        """The job."""
        return JobSpec(*self.lease[0])

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


class ChildProgram:
    """
    The whole life of a child. The worker makes it, and `multiprocessing.spawn` unpickles it in the child and runs it.

    `lifeline` is the number of a pipe that ends with the worker; `main` says where the worker's program is.
    """

    def __init__(self, lifeline: int, main: dict[str, Any]) -> None:
        self._lifeline = lifeline
        self._main = main

    def _bootstrap(self, pipe_handle: int) -> int:
        # Nothing of the user's has run yet: an import that never ends is to end with the worker.
        threading.Thread(target=_end_with_worker, args=(self._lifeline,), daemon=True).start()
        pipe = Connection(pipe_handle)
        Ties(pipe, self._lifeline)
        error = _import_program(self._main)
        with contextlib.suppress(EOFError, OSError):
            pipe.send_bytes(codec.pack(["ready"]) if error is None else error)
            if error is None:
                _serve(pipe)
        return 0


# ---- the parent, signals, programs ----


class Ties:
    """The pipes of a child, and its handlers of signals. A fork of it lets go of them."""

    def __init__(self, pipe: Connection, lifeline: int) -> None:
        self._pipe = pipe
        self._lifeline = lifeline
        self._blocked = threading.local()
        os.set_inheritable(lifeline, False)
        # Handlers, not SIG_IGN: programs that a task starts would inherit that, and a SIGTERM would not end them.
        # A signal that was ignored when the worker started stays ignored, as in any program.
        self._before = {one: signal.getsignal(one) for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN}
        for one in self._before:
            signal.signal(one, _do_nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.register_at_fork(before=self._block, after_in_parent=self._unblock, after_in_child=self._forked)

    def _block(self) -> None:
        """Let signals wait: one that ends a fork must not meet the handlers of this process in it."""
        self._blocked.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked.before)

    def _forked(self) -> None:
        """Close the pipes: a fork that holds them would hide the child's end. Restore the handlers."""
        self._pipe.close()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        for one, handler in self._before.items():
            if signal.getsignal(one) is _do_nothing:
                signal.signal(one, handler)
        self._unblock()


def _do_nothing(number: int, frame: FrameType | None) -> None: ...


def _end_with_worker(lifeline: int) -> None:
    """End this process with its worker: it would run a job that another worker has claimed by then."""
    with contextlib.suppress(OSError):
        os.read(lifeline, 1)  # the worker writes nothing: it returns at the end of the worker
    with contextlib.suppress(OSError):
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)  # for an instant after each job it is in another group


def _end_programs() -> bool:
    """
    Kill the programs that a job has left behind; return whether there may have been any.

    All of them are in the group of this process. It steps out of its group to kill the rest.
    """
    own = os.getpid()
    try:
        os.setpgid(0, os.getpgid(os.getppid()))
    except OSError:
        return True  # the worker has changed its session
    try:
        os.killpg(own, signal.SIGKILL)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # programs of another user
    else:
        return True
    finally:
        os.setpgid(0, own)


# ---- imports ----


class Refused(Exception):
    """The program opened a Fifoq or started a worker while a child imported it. Another try would not help."""


@contextlib.contextmanager
def _importing() -> Generator[None]:
    """Import code of the user's in this block. Raises Refused, even if the code caught the error and raised another."""
    imports: Imports | None = None
    try:
        with importing() as imports:
            yield
    except BaseException as error:
        if imports is None or imports.refusal is None:
            raise
        raise Refused(imports.refusal) from error


def _import_program(main: dict[str, Any]) -> bytes | None:
    """Import the program of the worker, as `multiprocessing` does; return its error, as it is sent."""
    process = current_process()
    # As long as this is set, multiprocessing refuses to start processes, as it does in children of its own.
    setattr(process, "_inheriting", True)  # noqa: B010
    try:
        with _importing():
            spawn.prepare(main)
    except BaseException as error:
        return _raised(error, note=f" (A child process imported the program. Is `{GUARD}` missing in it?)")
    finally:
        delattr(process, "_inheriting")
    return None


class Function(NamedTuple):
    """A task's function and signature, imported by a child."""

    call: Callable[..., Any]
    signature: Signature
    connection: object
    """Of its Fifoq; None if the module has the function, and not the task."""


def _find(request: Request) -> Function:
    """Import the function. In its module, its name may be that of the registered task."""
    with _importing():
        found: Any = importlib.import_module(request.module)
    for part in request.function.split("."):
        found = getattr(found, part)
    if isinstance(found, Task):
        task = cast("Task[Any, Any, Any]", found)
        function = Function(task.function, task.signature, task.connection)
    else:
        function = Function(found, Signature(found, takes_context=request.takes_context), None)
    function.signature.limit = request.max_payload
    return function


# ---- jobs ----


class Reporter:
    """
    Sends the progress and the waits of one job, from any thread, until the job has ended.

    As the `fifoq.task.waiting.Holder` of the job it knows what waits for it in the worker's process.
    """

    def __init__(self, pipe: Connection, request: Request) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._request = request
        self.ended = False
        self.connection: object = None
        """Of the job's Fifoq, once its function is imported."""

    @property
    def job(self) -> PlacedJob:
        return PlacedJob.of(self.connection, self._request.queue, self._request.spec)

    @property
    def above(self) -> Sequence[PlacedJob]:
        return [PlacedJob(self.connection, *cast("Any", each)) for each in self._request.above]

    def waits(self, target: PlacedJob, begins: bool) -> None:
        """Report that the job begins or ceases to wait for another one of its Fifoq."""
        if target.connection is self.connection:
            self._send(["waits", begins, *target[1:]])

    def report(self, progress: bytes) -> None:
        """Report progress."""
        self._send(["progress", progress])

    def _send(self, message: list[Any]) -> None:
        """Send it, unless the job has ended: a thread that it left behind may report to the next job."""
        with self._lock:
            if not self.ended:
                self._pipe.send_bytes(codec.pack(message))

    def end(self) -> None:
        """Send no more."""
        with self._lock:
            self.ended = True


def _serve(pipe: Connection) -> None:
    """Run jobs until the worker closes the pipe."""
    functions: dict[tuple[str, str], Function] = {}
    with asyncio.Runner() as runner:
        while True:
            request = Request.unpack(pipe.recv_bytes())
            pipe.send_bytes(BEGUN)
            reporter = Reporter(pipe, request)
            reply = _answer(request, reporter, functions, runner)
            reporter.end()
            _flush()
            if _end_programs():
                # Memory of this process may refer to the programs, so it runs no more jobs.
                pipe.send_bytes(codec.pack(["spent"]))
            pipe.send_bytes(reply)


def _flush() -> None:
    """Write the output of a job: when the worker ends, this process is killed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or None, or whatever a task has put there
            stream.flush()


def _answer(
    request: Request, reporter: Reporter, functions: dict[tuple[str, str], Function], runner: asyncio.Runner
) -> bytes:
    try:
        name = (request.module, request.function)
        if name not in functions:
            functions[name] = _find(request)
        reporter.connection = functions[name].connection
        return codec.pack(["returned", _call(functions[name], request, reporter, runner)])
    except BaseException as error:  # a SystemExit is the job's end, not the process's
        return _raised(error)


def _call(function: Function, request: Request, reporter: Reporter, runner: asyncio.Runner) -> bytes:
    lease = Lease(request.spec, *request.lease[1:])
    args, kwargs = read(function.signature.decode, lease.spec.payload)
    if request.takes_context:
        context = LeaseContext(lease, request.queue, request.worker, None, reporter.report, lambda: False)
        args = (context, *args)
    context = copy_context()
    context.run(running.set, reporter)
    value = context.run(function.call, *args, **kwargs)
    if inspect.iscoroutine(value):
        value = run_job(runner, value, reporter)
    return write(function.signature.encode_result, value)


def _raised(error: BaseException, note: str = "") -> bytes:
    """Return the reply for an error. One that cannot be sent fails the job: no class of it may be tried again."""
    try:
        return _reply_of(error, note)
    except BaseException as broken:
        texts = [name_of(error), both(error, broken), ""]
        return codec.pack(["raised", *map(codec.encodable, texts), []])


def _reply_of(error: BaseException, note: str) -> bytes:
    match error:
        case RetryAfter():
            return codec.pack(["retry after", float(error.seconds)])
        case GiveUp():
            return codec.pack(["give up", codec.encodable(str(error.reason))])
        case Unreadable():
            return codec.pack(["unreadable", codec.encodable(str(error))])
        case ResultNotSendable():
            return codec.pack(["unsendable", codec.encodable(str(error))])
        case Refused():
            # Of no kind: it is not tried again.
            texts = [ConfigurationError.__name__, str(error), trace_of(error)]
            return codec.pack(["raised", *map(codec.encodable, texts), []])
        case _:
            texts = [name_of(error), message_of(error) + note, trace_of(error)]
            kinds = [codec.encodable(f"{kind.__module__}.{kind.__qualname__}") for kind in type(error).__mro__]
            return codec.pack(["raised", *map(codec.encodable, texts), kinds])
