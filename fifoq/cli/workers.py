"""The command `fifoq worker` in one process: loads an app, shows a banner, and works. supervisor.py makes several."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from importlib.metadata import version

from fifoq.app import Fifoq
from fifoq.cli.health import BEAT, Beats, Health, HealthServer
from fifoq.cli.loading import load, start_failed
from fifoq.cli.log import configure
from fifoq.cli.options import WorkerOptions
from fifoq.cli.output import colours
from fifoq.clock import SECOND
from fifoq.errors import BackendError, FifoqError
from fifoq.queue import Gate
from fifoq.task.definition import TaskDefinition
from fifoq.worker.worker import Worker, signals

log = logging.getLogger("fifoq.cli")


@dataclass(frozen=True)
class App:
    """An app that is loaded: its Fifoq, and the name of that as module:attr."""

    name: str
    tasks: Fifoq


class Presence:
    """The worker of this process, and its health. A thread passes that on every second, as `tell` does."""

    def __init__(self, tell: Callable[[Health], None]) -> None:
        self.worker: Worker | None = None
        self.stopping = False
        self.lines: list[str] = []
        """For the log, once it is open."""
        self._gently: Callable[[], None] | None = None
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: float | None = None
        """When the loop was asked to answer, unless it has."""
        self._ended = threading.Event()

    @property
    def grace(self) -> float | None:
        """The grace of the worker; None: not known yet."""
        return None if self.worker is None else self.worker.settings.grace

    def stop(self) -> None:
        """Have it stop, from another thread: as at SIGTERM, but a second call hurries nothing."""
        loop, gently = self._loop, self._gently
        if loop is None or gently is None:
            os.kill(os.getpid(), signal.SIGTERM)  # it is starting
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(gently)

    def hurry(self) -> None:
        """Have its jobs released at once, from another thread."""
        if self._loop is not None and self.worker is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.worker.hurry)

    def look(self) -> Health:
        """Return the health as it is now."""
        worker, asked = self.worker, self._asked
        lag = 0.0 if asked is None else time.monotonic() - asked
        detail = {"running": 0 if worker is None else worker.running, "lag": round(lag, 3)}
        if self.stopping:
            why = "it is stopping"
        elif worker is None or not worker.store:
            why = "it is starting"
        else:
            why = "" if worker.ready else "the store does not answer"
        return Health(True, not why, why, detail)

    def began(self, gently: Callable[[], None]) -> None:
        """Note that the loop runs, and how to stop the worker there."""
        self._loop, self._gently = asyncio.get_running_loop(), gently

    def opened(self) -> None:
        """Note that the worker is open."""
        self._tell(self.look())
        threading.Thread(target=self._beat, name="fifoq-beat", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            if self._asked is None and self._loop is not None:
                self._asked = time.monotonic()
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._answer)
            self._tell(self.look())

    def _answer(self) -> None:
        self._asked = None


class _Ended(BaseException):
    """SIGTERM came while the app was loaded."""


def work(options: WorkerOptions) -> None:
    """Run `fifoq worker` in this process alone."""
    beats = Beats(options.health_file)
    presence = Presence(beats.beat)
    with ExitStack() as stack:
        if options.health is not None:
            server = HealthServer(options.health, presence.look)
            presence.lines.append(server.line)
            stack.callback(server.close)
        stack.callback(beats.stopping)
        work_on(options, presence, beats.stopping)


def work_on(options: WorkerOptions, presence: Presence, stopping: Callable[[], None]) -> None:
    """
    Load the app and work until a signal or, in a burst, until no job is left. Calls `stopping` when it begins to end.

    Raises FifoqError.
    """
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    with contextlib.suppress(_Ended), ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, _leave)
        tasks, name = load(options.app, options.app_dir)
        configure(options.log, quiet=options.quiet)
        if options.url is not None:
            stack.enter_context(tasks.using(options.url))
        presence.worker = tasks.worker(
            queues=options.queues, concurrency=options.concurrency, threads=options.threads, grace=options.grace
        )
        stack.callback(presence.close)
        asyncio.run(_run(App(name, tasks), presence.worker, options, presence, stopping))


def _leave(number: int, frame: object) -> None:
    raise _Ended


async def _run(
    app: App, worker: Worker, options: WorkerOptions, presence: Presence, stopping: Callable[[], None]
) -> None:
    working = asyncio.current_task()

    def gently() -> None:
        if presence.stopping:
            return
        presence.stopping = True
        stopping()
        if working is not None:
            working.cancel()

    presence.began(gently)
    # A second signal to a supervised process may be the first one of the supervisor's, sent to the whole group.
    with signals(gently, (lambda: None) if options.supervised else worker.hurry):
        try:
            async with AsyncExitStack() as stack:
                await _open(worker, stack)
                presence.opened()
                await _announce(app, worker, options)
                for line in presence.lines:
                    log.info(line)
                await (worker.drained() if options.burst else asyncio.Event().wait())
        except asyncio.CancelledError:
            # `gently` cancels this task: that is an orderly end.
            if not presence.stopping or working is None or working.uncancel() > 0:
                raise


async def _open(worker: Worker, stack: AsyncExitStack) -> None:
    try:
        await stack.enter_async_context(worker)
    except FifoqError:
        raise
    except Exception as error:  # of the app's lifespan
        raise start_failed(error) from error


# ---- the banner ----


async def _announce(app: App, one: Worker, options: WorkerOptions) -> None:
    if options.banner and not options.quiet:
        if options.log == "json":
            log.info(
                "fifoq %s, %s: %d processes, %d jobs at a time in each.",
                version("fifoq"),
                app.name,
                options.processes,
                one.settings.concurrency,
            )
        else:
            sys.stderr.write(banner(app, one, options, await _gates(one)))
            sys.stderr.flush()
    if one.store.lower().startswith("memory:"):
        log.warning(
            "%s lives in the memory of this process: no other process can enqueue there%s. To give this worker jobs, "
            "set FIFOQ_URL or --url to the store where they are enqueued, like sqlite:///jobs.db.",
            one.store,
            ", and each worker process has one of its own" if options.processes > 1 else "",
        )


async def _gates(one: Worker) -> dict[tuple[str, str | None], Gate]:
    """Return the gates in force, by queue and task. None if the store does not answer just now."""
    try:
        return {(queue, gate.task): gate for queue, gates in (await one.gates()).items() for gate in gates}
    except BackendError:
        return {}


def banner(app: App, one: Worker, options: WorkerOptions, gates: Mapping[tuple[str, str | None], Gate]) -> str:
    """Return the text about a worker that has opened its store: where it works, on which tasks, how many at a time."""
    strong, plain = ("\033[1m", "\033[0m") if colours(sys.stderr) else ("", "")
    settings = one.settings
    processes = f"{options.processes} processes × " if options.processes > 1 else ""
    lines = [
        f"{strong}fifoq {version('fifoq')}{plain}: {app.name}",
        f"  store   {strong}{one.store}{plain}",
        f"  jobs    {processes}{settings.concurrency} at a time, {settings.threads} of them in threads; "
        f"lease {settings.lease:g} s, grace {settings.grace:g} s",
    ]
    for queue in one.queues:
        lines.append(f"  queue   {queue}{_bounds(gates.get((queue, None)))}")
        ours = sorted((task.definition for task in app.tasks.tasks.values() if task.queue == queue), key=_name)
        width = max((len(each.name) for each in ours), default=0)
        lines += [
            f"    {each.name:<{width}}  {each.promise or 'oldest first'}{_bounds(gates.get((queue, each.name)))}"
            for each in ours
        ]
    if not one.queues:
        lines.append("  no tasks: this worker claims no jobs until one is registered")
    return "\n".join([*lines, ""])


def _name(definition: TaskDefinition) -> str:
    return definition.name


def _bounds(gate: Gate | None) -> str:
    """Return the limits in force at a gate, as the end of a line."""
    if gate is None:
        return ""
    limit, value_limit, capacity, interval, burst = gate.settings
    parts = [
        None if limit is None else f"at most {limit} at a time",
        None if value_limit is None else f"at most {value_limit} at a time per value",
        None if interval is None else _rate(interval) + (f", burst {burst}" if burst > 1 else ""),
        None if capacity is None else f"capacity {capacity:,}",
        "overridden by an operator" if gate.overridden else None,
        "PAUSED" if gate.paused else None,
    ]
    return "".join(f"; {part}" for part in parts if part)


def _rate(interval: int) -> str:
    per_second = SECOND / interval
    if per_second >= 1:
        return f"{per_second:.4g}/s"
    return f"{60 * per_second:.4g}/m" if per_second >= 1 / 60 else f"{3_600 * per_second:.4g}/h"
