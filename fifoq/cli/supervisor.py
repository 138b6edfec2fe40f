"""
The supervisor of `fifoq worker --processes N`: starts worker processes, watches them, and starts others for the dead.

It never imports the app. Each worker process is a fresh interpreter with a lifeline, a pipe that only the supervisor
holds: it ends with the supervisor, however that ends, and the worker process with it.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from fifoq.cli.health import BEAT, Beats, Health, HealthServer
from fifoq.cli.log import configure
from fifoq.cli.options import HURRY, STOP, WorkerOptions
from fifoq.cli.output import DONE, FAILED, STORE, USAGE, AppError, complain
from fifoq.errors import ConfigurationError
from fifoq.extras import install_line

log = logging.getLogger("fifoq.supervisor")

COMMAND = (sys.executable, "-P", "-m", "fifoq.cli.supervised")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a dead worker process is replaced, doubled from the first to the longest."""
HEALTHY = 60.0
"""Seconds of work after which the next pause is the first again."""
STOP_TIMEOUT = 1.0
"""Seconds after the grace at which a stopping worker process is killed."""
HURRIED_STOP_TIMEOUT = 2.0
"""The same after a second signal, which ends the grace."""
SILENCE, LEASES = 30.0, 2
"""A ready worker process without a beat for so many seconds, or so many leases if that is longer, is killed."""
RELOAD_GRACE = 2.0
"""Seconds that jobs have to finish before a reload."""
GRACE, LEASE = 25.0, 15.0
"""Until a worker process has sent its own."""


class Failure(NamedTuple):
    """The error with which a worker process could not start."""

    status: int
    sentence: str
    traceback: str


class Child:
    """One worker process: its pipes, its words, its end."""

    def __init__(self, options: WorkerOptions) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        """Its exit status; below zero is the signal."""
        self.failure: Failure | None = None
        self.done = False
        """It has ended in its own time, with no job left or after a signal."""
        self.asked_to_end = False
        self.health = Health(True, False, "it is starting")
        self.started = self.beat_at = time.monotonic()
        self.grace, self.lease = GRACE if options.grace is None else options.grace, LEASE
        self._rest = b""
        lifeline, self._lifeline = os.pipe()
        self._words, words = os.pipe()
        os.set_blocking(self._words, False)
        try:
            self._process = subprocess.Popen(
                [*COMMAND, str(words)],
                stdin=lifeline,
                pass_fds=(words,),
                # A group of its own: Ctrl-C reaches the supervisor alone, which stops its processes.
                process_group=0,
            )
        except BaseException:
            os.close(self._lifeline)
            os.close(self._words)
            raise
        finally:
            os.close(lifeline)
            os.close(words)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, json.dumps(dataclasses.asdict(options)).encode() + b"\n")
        loop.add_reader(self._words, self._read)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def was_ready(self) -> bool:
        """Whether it has ever opened its store."""
        return self.ready.done()

    def order(self, order: bytes) -> None:
        """Send it an order, unless it has ended."""
        if not self.ended.done():
            with contextlib.suppress(BrokenPipeError):
                os.write(self._lifeline, order)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if self._process.returncode is None:
            self._process.kill()

    def reap(self) -> None:
        """Note its end, if it has ended."""
        if self.ended.done() or self._process.poll() is None:
            return
        self._read()
        asyncio.get_running_loop().remove_reader(self._words)
        os.close(self._words)
        os.close(self._lifeline)
        self.ended.set_result(self._process.returncode)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._words, 65_536):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
            asyncio.get_running_loop().remove_reader(self._words)  # it has ended

    def _take(self, word: dict[str, Any]) -> None:
        match word["word"]:
            case "beat":
                self.beat_at = time.monotonic()
                self.health = Health(*word["health"])
                self.lease, self.grace = word["lease"] or self.lease, word["grace"] or self.grace
                if not self.ready.done():
                    self.ready.set_result(None)
            case "failed":
                self.failure = Failure(word["status"], word["sentence"], word["traceback"])
            case _:
                self.done = True


class Slot:
    """The place of one worker process, and of those that follow it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.early = 0
        """Processes in a row that have ended before they were ready."""
        self.finished = False
        """No process follows: the queues are drained."""


class Supervisor:
    """Keeps one worker process in each slot, until a signal or for good."""

    def __init__(self, options: WorkerOptions, beats: Beats) -> None:
        self._options = dataclasses.replace(options, grace=RELOAD_GRACE) if options.reload else options
        self._beats = beats
        self._slots = [Slot(number + 1) for number in range(options.processes)]
        self._children: list[Child] = []
        """All that have not ended."""
        self._signals = 0
        self._ending, self._hurry, self._changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._error: tuple[AppError | str, int] | None = None
        """The error with which it gives up, and its exit status."""
        self._ever_ready = False
        self._shows_banner = options.banner
        self._renewing: asyncio.Task[None] | None = None
        self._renew_again = False

    async def run(self) -> int:
        """Work until a signal, until the queues are drained in a burst, or until it gives up; return the status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        # That of a terminal means that it is gone.
        loop.add_signal_handler(signal.SIGHUP, self._stop if sys.stdin and sys.stdin.isatty() else self._renew)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        try:
            async with asyncio.TaskGroup() as group:
                services = [group.create_task(self._keep(slot)) for slot in self._slots]
                services.append(group.create_task(self._watch()))
                if self._options.reload:
                    services.append(group.create_task(self._reload()))
                await self._ending.wait()
                for service in services:
                    service.cancel()
        finally:
            self._ending.set()
            if self._renewing is not None:
                self._renewing.cancel()
            self._beats.stopping()
            await self._end(self._children)
        return DONE if self._error is None else complain(*self._error)

    def look(self) -> Health:
        """Return the health of all: ready if every slot has a process that claims jobs."""
        now = time.monotonic()
        why: list[str] = []
        for slot in self._slots:
            child = slot.child
            if child is None or child.ended.done():
                why.append(f"process {slot.number} is not running")
            elif child.was_ready and now - child.beat_at > 10 * BEAT:
                why.append(f"process {slot.number} (pid {child.pid}) sends no beats")
            elif not child.health.ready:
                why.append(f"process {slot.number} (pid {child.pid}): {child.health.why}")
        running = sum((child.health.detail or {}).get("running", 0) for child in self._children)
        if self._ending.is_set():
            why = ["it is stopping"]
        return Health(True, not why, "; ".join(why), {"processes": len(self._children), "running": running})

    # ---- one slot ----

    def _start(self) -> Child:
        child = Child(dataclasses.replace(self._options, banner=self._shows_banner))
        self._shows_banner = False
        self._children.append(child)
        return child

    async def _keep(self, slot: Slot) -> None:
        pause = FIRST_PAUSE
        while not self._ending.is_set():
            if slot.child is None or slot.child.ended.done():
                try:
                    slot.child = self._start()
                except OSError as error:  # no memory, or too many processes
                    log.error("No worker process can be started: %s. The next try is in %g s.", error, pause)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
            child = slot.child
            await asyncio.wait([child.ended])
            self._ever_ready = self._ever_ready or child.was_ready
            if slot.child is not child or child.asked_to_end:
                continue
            if self._options.burst and child.done:
                slot.finished = True
                if all(each.finished for each in self._slots):
                    self._ending.set()
                return
            slot.early = 0 if child.was_ready else slot.early + 1
            if child.was_ready and time.monotonic() - child.started >= HEALTHY:
                pause = FIRST_PAUSE
            if self._options.reload and not child.was_ready:
                complain(_error_of(child, 1)[0], FAILED)
                log.warning("The worker starts again when a Python file changes.")
                await self._changed.wait()
            elif self._gives_up(child):
                return
            else:
                end = _end_of(child)
                log.warning(
                    "Worker process %d (pid %d) %s. Another starts in %g s.", slot.number, child.pid, end, pause
                )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                pause = min(2 * pause, LONGEST_PAUSE)

    def _gives_up(self, child: Child) -> bool:
        """Whether to end all: a mistake that each start would repeat, or too many failed starts in a row."""
        status = None if child.failure is None else child.failure.status
        mistake = status in (USAGE, STORE) and not self._ever_ready and not any(one.was_ready for one in self._children)
        if not mistake and min(slot.early for slot in self._slots) < self._options.give_up:
            return False
        if self._error is None:
            error, status = _error_of(child, self._options.give_up)
            self._error = error, status if mistake else FAILED
        self._ending.set()
        return True

    # ---- all of them ----

    def _reap(self) -> None:
        for child in tuple(self._children):
            child.reap()
            if child.ended.done():
                self._children.remove(child)
        if os.getpid() == 1:
            _reap_strangers({child.pid for child in self._children})

    async def _watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(BEAT)
            self._reap()
            now = time.monotonic()
            slept, last = now - last > 5 * BEAT, now
            for child in self._children:
                if slept:  # so have they, perhaps
                    child.beat_at = now
                silence = now - child.beat_at
                if child.was_ready and silence > max(SILENCE, LEASES * child.lease):
                    log.error("Worker process %d has sent no beat for %.0f s. It is killed.", child.pid, silence)
                    child.kill()
            self._beats.beat(self.look())

    def _stop(self) -> None:
        self._signals += 1
        self._ending.set()
        if self._signals > 1:
            self._hurry.set()

    async def _end(self, children: list[Child]) -> None:
        """Stop these, and kill those that are still there after the grace."""
        children = list(children)
        if not children:
            return
        for child in children:
            child.asked_to_end = True
            child.order(STOP)
        ends = asyncio.create_task(asyncio.wait([child.ended for child in children]))
        hurry = asyncio.create_task(self._hurry.wait())
        grace = max(child.grace for child in children)
        await asyncio.wait([ends, hurry], timeout=grace + STOP_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if hurry.done() and not ends.done():
            for child in children:
                child.order(HURRY)
            await asyncio.wait([ends], timeout=HURRIED_STOP_TIMEOUT)
        hurry.cancel()
        for child in children:
            if not child.ended.done():
                log.warning("Worker process %d did not end within its grace. It is killed.", child.pid)
                child.kill()
        await ends

    # ---- renewal ----

    def _renew(self) -> None:
        if self._renewing is not None and not self._renewing.done():
            self._renew_again = True
            return
        self._renewing = asyncio.create_task(self._renew_all())

    async def _renew_all(self) -> None:
        """Replace one process after another: the old one ends when the new one is ready."""
        log.info("SIGHUP: the worker processes are replaced, one after another.")
        for slot in self._slots:
            if self._ending.is_set() or slot.finished:
                return
            try:
                new = self._start()
            except OSError as error:
                log.error("No worker process can be started: %s. The others go on as they are.", error)
                return
            await asyncio.wait([new.ready, new.ended], return_when=asyncio.FIRST_COMPLETED)
            if not new.was_ready:
                error, _ = _error_of(new, 1)
                log.error(
                    "The new worker process did not start: %s. The others go on as they are.", f"{error}".rstrip(".")
                )
                return
            old, slot.child = slot.child, new
            if old is not None:
                await self._end([old])
        log.info("All worker processes are replaced.")
        if self._renew_again:
            self._renew_again = False
            self._renewing = asyncio.create_task(self._renew_all())

    async def _reload(self) -> None:
        """Start all processes again whenever a Python file of the app changes."""
        import watchfiles

        awatch = cast("Any", watchfiles).awatch
        async for changes in awatch(self._options.app_dir, watch_filter=watchfiles.PythonFilter(), debounce=400):
            log.info("%s has changed: the worker starts again.", _names({path for _, path in changes}))
            await self._end(self._children)
            self._changed.set()
            self._changed.clear()


def supervise(options: WorkerOptions) -> int:
    """Run `fifoq worker` with worker processes; return its exit status."""
    if options.reload:
        try:
            import watchfiles  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError as error:
            raise ConfigurationError(f"--reload needs watchfiles: {install_line('reload')}") from error
    configure(options.log or "text", quiet=options.quiet)
    beats = Beats(options.health_file)

    async def run() -> int:
        supervisor = Supervisor(options, beats)
        with contextlib.ExitStack() as stack:
            if options.health is not None:
                server = HealthServer(options.health, supervisor.look)
                log.info(server.line)
                stack.callback(server.close)
            return await supervisor.run()

    return asyncio.run(run())


def _names(paths: set[str]) -> str:
    names = sorted(map(os.path.relpath, paths))
    return ", ".join(names[:3]) + (", …" if names[3:] else "")


def _error_of(child: Child, times: int) -> tuple[AppError | str, int]:
    if child.failure is not None:
        return AppError(child.failure.sentence, child.failure.traceback), child.failure.status
    again = f"{times} times in a row " if times > 1 else ""
    return (
        f"Worker processes ended {again}before they were ready: the last one {_end_of(child)}. "
        "Start one alone, with --processes 1, to see why."
    ), FAILED


def _end_of(child: Child) -> str:
    status = child.ended.result()
    if child.failure is not None:
        return f"did not start: {child.failure.sentence.rstrip('.')}"
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


def _reap_strangers(ours: set[int]) -> None:
    """As process 1 of a container: take the exit statuses of processes whose parents are gone."""
    for pid in _ended_processes():
        if pid in ours:
            return  # its turn comes first
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _ended_processes() -> Iterator[int]:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            yield ended.si_pid
