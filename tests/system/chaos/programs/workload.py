"""What the processes of a chaos test do: the tasks, an outer store that minds the fence, workers and producers."""

import asyncio
import dataclasses
import fcntl
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fifoq import Context, Fifoq, Limit, Retry, backends
from fifoq.testing.history import FileLog, Producer, WatchedBackend, attempt
from fifoq.worker import executor
from fifoq.worker.executor import Executor
from tests.kill_points import KillPoints, intercept, plant_inner
from tests.planted import break_promise

QUEUE = "chaos"
TENANTS = 7


class ProcessSpec(NamedTuple):
    """What one process is told to do."""

    kind: str
    """`worker` or `producer`."""
    name: str
    point: str = "nowhere"
    """Where it is struck."""
    nth: int = 1
    strike: str = "SIGKILL"
    fault: str = ""
    """One of `faults`: a promise that its store breaks."""
    room: int = 0
    """Bytes beyond which its files do not grow, until SIGUSR1."""
    lease: float = 0.5
    concurrency: int = 4
    ahead: float = 0.0
    """Seconds: it claims ahead, from the beginning, what is expected to begin within that time. 0: as workers do."""
    first: int = 0
    count: int = 0
    keys: int = 1
    flight: int = 5
    """How many of its enqueues are awaited together."""
    slow: float = 0.0
    """The share of its jobs that take longer than the time between two extensions."""
    quick: bool = False
    """The others end at once."""
    task: str = ""
    """Default: one after the other."""
    prefix: str = ""
    """Of its jobs' ids. Default: its name."""
    seconds: float = 0.0


class Stale(Exception):
    """The outer store has seen a newer fence."""


class OuterStore:
    """A file per key, which takes no write under an older fence than it has seen: what users are told to build."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, key: str, fence: int, written: Callable[[], None]) -> None:
        file = os.open(self._folder / f"{key}.outer", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            newest = int(os.pread(file, 20, 0) or b"0")
            if fence < newest:
                raise Stale(f"fence {fence} after {newest}")
            os.pwrite(file, b"%020d" % fence, 0)
            written()
        finally:
            os.close(file)


class ErrorReporter(logging.Handler):
    """Tells the controller what is logged as an error."""

    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__(logging.ERROR)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say("logged", text=record.getMessage()[:1_000])


class LoopLag:
    """Measures for how long the loop was held up at most."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._task = asyncio.create_task(self._beat())

    def stop(self) -> float:
        """End; return the longest gap in seconds."""
        self._task.cancel()
        return self._longest

    async def _beat(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            self._longest = max(self._longest, time.monotonic() - before - 0.02)


class Workload:
    """The app. It is made once, before the forks; what is a process's own is set after."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.scheme = url.partition(":")[0]
        self.outer = OuterStore(folder)
        self.spec = ProcessSpec("", "")
        self.log: Any = None
        self.points = KillPoints("nowhere", 1, signal.SIGKILL)
        self.tasks = Fifoq(url)
        settings: dict[str, Any] = {
            "queue": QUEUE, "key": "match", "retry": Retry(attempts=1_000, backoff=0.001), "max_crashes": 1_000,
        }  # fmt: skip
        self.play = self.tasks.task(limit=[Limit(60), Limit(20, by="tenant")], **settings)(self._play())
        self.grind = self.tasks.task(**settings)(self._grind())
        self.stay = self.tasks.task(**settings)(self._stay())

    def _play(self) -> Callable[..., Any]:
        async def play(ctx: Context, match: str, tenant: int, seconds: float) -> int:
            with attempt(self.log, ctx, str(tenant)) as effect:
                self.points.reach("in task")
                if seconds:
                    await asyncio.sleep(seconds)
                self.outer.write(match, ctx.fence, effect)
                self.points.reach("after effect")
            return ctx.fence

        return play

    def _grind(self) -> Callable[..., Any]:
        def grind(ctx: Context, match: str, seconds: float) -> int:
            with attempt(self.log, ctx) as effect:
                self.points.reach("in task")
                if seconds:
                    time.sleep(seconds)
                self.outer.write(match, ctx.fence, effect)
                self.points.reach("after effect")
            return ctx.fence

        return grind

    def _stay(self) -> Callable[..., Any]:
        """It is kept until there is a file `go`, or its worker is stopped; who gets it after a crash is through."""
        go = self.folder / "go"

        async def stay(ctx: Context, match: str, seconds: float) -> int:
            with attempt(self.log, ctx) as effect:
                self.say("in", job=ctx.job.id, fence=ctx.fence, crashes=ctx.job.crashes)
                self.points.reach("in task")
                try:
                    end = time.monotonic() + (0.0 if ctx.job.crashes else seconds)
                    while time.monotonic() < end and not go.exists():  # noqa: ASYNC110 -- it waits for a file
                        await asyncio.sleep(0.01)
                except asyncio.CancelledError as error:
                    self.say("cancelled", job=ctx.job.id, flag=ctx.cancelled, why=str(error))
                    raise
                self.outer.write(match, ctx.fence, effect)
            return ctx.fence

        return stay

    def say(self, what: str, **more: Any) -> None:
        """Tell the controller."""
        self.report({"event": "said", "name": self.spec.name, "what": what, **more})

    report: Callable[[dict[str, Any]], None]

    # ---- in a child

    def become(self, spec: ProcessSpec) -> None:
        """Be the process that does `spec`."""
        self.spec = spec
        self.log = FileLog(self.folder)
        logging.basicConfig(level=logging.WARNING, format=f"{spec.name} %(asctime)s %(name)s: %(message)s")
        logging.getLogger().addHandler(ErrorReporter(self.say))
        strike = signal.Signals[spec.strike]
        self.points = KillPoints(spec.point, spec.nth, strike, lambda: self.say("struck"))
        plant_inner(self.scheme, self.points)
        self._wrap_stores()
        self._watch_the_line()
        if spec.ahead:
            executor.PREFETCH_SECONDS, executor.FIRST_ESTIMATE = spec.ahead, 0.0
        os.environ["FIFOQ_LEASE"] = str(spec.lease)
        if spec.room:
            self._limit_room(spec.room)

    def _wrap_stores(self) -> None:
        find: Any = backends._load  # pyright: ignore[reportPrivateUsage]

        def load(*found: Any) -> Any:
            def make(*args: Any, **more: Any) -> Any:
                store = break_promise(self.spec.fault, find(*found)(*args, **more))
                return intercept(WatchedBackend(store, self.log), self.points)

            return make

        backends._load = load  # type: ignore[assignment]  # pyright: ignore[reportPrivateUsage]

    def _watch_the_line(self) -> None:
        """Tell the controller, once, that more was claimed than may run."""
        start, told = Executor.start, False

        def watched(running: Executor, runs: Any) -> None:
            nonlocal told
            if len(runs) > self.spec.concurrency and not told:
                told = True
                self.say("claimed ahead")
            start(running, runs)

        Executor.start = watched  # type: ignore[method-assign]

    def _limit_room(self, size: int) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
        signal.signal(signal.SIGUSR1, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))

    async def work(self) -> None:
        """Work until a signal."""
        worker = self.tasks.worker(concurrency=self.spec.concurrency, threads=4, grace=5.0)
        worker.settings = dataclasses.replace(worker.settings, name=self.spec.name)
        lag = LoopLag()
        await worker.run()
        self.say("gap", seconds=lag.stop())

    async def produce(self) -> None:
        """Enqueue the jobs in spec, some at a time."""
        spec, producer = self.spec, Producer(self.log, self.spec.name)
        async with self.tasks:
            for first in range(spec.first, spec.first + spec.count, spec.flight):
                numbers = range(first, min(first + spec.flight, spec.first + spec.count))
                await asyncio.gather(*(self._put(producer, number) for number in numbers))

    async def _put(self, producer: Producer, number: int) -> None:
        spec = self.spec
        id, key = f"{spec.prefix or spec.name}-{number}", f"k{number % spec.keys}"
        # The same for each repeat of the number: an id stands for one task with one set of arguments.
        slow = number * 0.618 % 1 < spec.slow
        seconds = spec.seconds or (spec.lease * 0.5 if slow else 0.0 if spec.quick else number % 4 * 0.002)
        task = spec.task or ("play" if number % 3 else "grind")
        match task:
            case "play":
                call = lambda: self.play.options(id=id).enqueue(key, number % TENANTS, seconds)  # noqa: E731
            case "grind":
                call = lambda: self.grind.options(id=id).enqueue(key, seconds)  # noqa: E731
            case _:
                call = lambda: self.stay.options(id=id).enqueue(key, seconds)  # noqa: E731
        await producer.enqueue(QUEUE, id, key, call)
