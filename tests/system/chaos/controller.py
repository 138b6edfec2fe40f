"""Starts, strikes and watches the processes of a chaos test, and proves their history in the end."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from fifoq.backends import connect
from fifoq.limits import GateSettings, Limit
from fifoq.queue import Backend, Queue, Stats
from fifoq.record import Filter, Record, State
from fifoq.testing.history import Bounds, Doubted, FileLog, Final, Report, check, read_logs

QUEUE = "chaos"
ROOT = Path(__file__).parents[3]
HOLD = ROOT / "tests" / "fifoq_sqlite" / "programs" / "hold.py"
LONG = 120.0
"""Seconds: a test that waits in vain fails instead of hanging."""
BOUNDS: Bounds = {(QUEUE, "play"): GateSettings.of([Limit(60), Limit(20, by="tenant")])}


def program(name: str, *arguments: object) -> list[str]:
    """Return the command that runs a program of `programs/`, with the root of the checkout as working directory."""
    return [sys.executable, "-m", f"tests.system.chaos.programs.{name}", *map(str, arguments)]


@asynccontextmanager
async def held(path: Path, kind: str) -> AsyncGenerator[None, None]:
    """Have another process keep a lock of a SQLite store for a block: `sqlite`, its own; `lock` or `turn`, fifoq's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, HOLD, path, kind, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    assert await process.stdout.readline() == b"held\n"
    yield
    process.stdin.close()
    await process.wait()


class Controller:
    """The server of a test's processes, a look at their store, and their history."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.pids: dict[str, int] = {}
        """Of the processes that run."""
        self.codes: dict[str, int] = {}
        """The exit codes of those that ended."""
        self.said: list[dict[str, Any]] = []
        self.killed = 0
        self._rest = b""
        self._log = FileLog(folder)
        self._server: subprocess.Popen[bytes] | None = None
        self.store: Backend = connect(url)

    async def __aenter__(self) -> Self:
        await self.store.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.look()
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._server is not None:
            with self._server as server:
                assert server.stdin
                server.stdin.close()
        self._log.close()
        await self.store.close()

    # ---- processes

    def start(self, kind: str, name: str, **order: Any) -> None:
        """Start a process; see `programs/workload.py` for what it may be told."""
        server = self._server = self._server or self._start_server()
        assert server.stdin
        server.stdin.write(json.dumps({"kind": kind, "name": name, **order}).encode() + b"\n")
        server.stdin.flush()
        self.pids[name] = 0

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, if the process is there: it may have ended, and be buried, before that is heard here."""
        if self.pids.get(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pids[name], number)

    def look(self) -> None:
        """Hear what has happened."""
        for message in self._messages():
            name = message["name"]
            match message["event"]:
                case "started":
                    self.pids[name] = message["child"]
                case "died":
                    self._record_death(name, message["code"], message["at"])
                case _:
                    self.said.append(message)

    def running(self, prefix: str) -> list[str]:
        return [name for name in self.pids if name.startswith(prefix)]

    def heard(self, name: str, what: str) -> list[dict[str, Any]]:
        """What a process has said so far."""
        return [one for one in self.said if (one["name"], one["what"]) == (name, what)]

    async def until(self, condition: Callable[[], Awaitable[Any] | Any], why: str = "") -> None:
        """Look again and again until something is so."""
        try:
            async with asyncio.timeout(LONG):
                while True:
                    self.look()
                    found = condition()
                    if await found if isinstance(found, Awaitable) else found:
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            stats = await self.stats()
            raise AssertionError(f"{why or 'it'} did not come: {stats}, {self.pids}, {self.codes}") from None

    async def outrun(self, name: str) -> None:
        """Wait until a worker is frozen at its point, and all that it held is others' by now."""
        await self.until(lambda: self.heard(name, "struck"), f"the freezing of {name}")
        await self.until(lambda: self._holds_nothing(name), f"somebody to take what {name} held")

    async def _holds_nothing(self, name: str) -> bool:
        return not [record async for record in self.records(State.RUNNING) if record.worker == name]

    async def stop(self, *names: str) -> None:
        """End processes in an orderly way."""
        for name in names:
            self.signal(name, signal.SIGTERM)
        await self.until(lambda: not set(names) & self.pids.keys(), f"the end of {names}")
        assert [self.codes[name] for name in names] == [0] * len(names)

    def _record_death(self, name: str, code: int, at: int) -> None:
        del self.pids[name]
        self.codes[name] = code
        if code < 0:
            self.killed += 1
            self._log.write(Doubted(at, name))

    def _start_server(self) -> "subprocess.Popen[bytes]":
        server = subprocess.Popen(
            program("fork_server", self.url, self.folder),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdout
        os.set_blocking(server.stdout.fileno(), False)
        return server

    def _messages(self) -> Iterator[dict[str, Any]]:
        if self._server is None or self._server.stdout is None:
            return
        with contextlib.suppress(BlockingIOError):
            self._rest += os.read(self._server.stdout.fileno(), 1 << 20)
        *lines, self._rest = self._rest.split(b"\n")
        yield from map(json.loads, lines)

    # ---- the store

    @property
    def queue(self) -> Queue:
        return self.store.queue(QUEUE)

    async def stats(self) -> Stats:
        return await self.queue.stats()

    async def records(self, state: State | None = None) -> AsyncIterator[Record]:
        cursor: int | None = 0
        while cursor is not None:
            page = await self.queue.find(Filter(state), cursor, 1_000)
            cursor = page.cursor
            for record in page.records:
                yield record

    async def all_done(self) -> bool:
        stats = await self.stats()
        return stats.scheduled + stats.waiting + stats.running == 0

    async def any_done(self) -> bool:
        return (await self.stats()).succeeded > 0

    async def history(self) -> Report:
        """What the processes have written, and what the store holds: every promise, checked."""
        async for record in self.records():
            self._log.write(Final(QUEUE, record.spec.id, record.state, record.halted, record.entry))
        return check(read_logs(self.folder), BOUNDS)

    async def prove(self, jobs: int) -> Report:
        """All is done, the store is sound, and every promise was kept. Return the history's report."""
        stats = await self.stats()
        assert (stats.accepted, stats.succeeded) == (jobs, jobs), stats
        audit = await self.queue.audit()
        assert audit.differences == ()
        assert audit.jobs == jobs
        report = await self.history()
        assert report.ok, str(report)
        return report
