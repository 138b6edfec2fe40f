"""Has contestants enqueue and run jobs on one server, each in processes of its own, and measures them from outside."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers.peer import BATCH, FLIGHT, ONE, Told
from benchmarks.peers.probe import Probe, Seen
from tests.servers import Server

LONG = 120.0
"""Seconds after which a contestant is stuck."""
BEST_WAY = {"fifoq": BATCH, "taskiq": FLIGHT, "saq": FLIGHT, "arq": FLIGHT, "dramatiq": ONE, "huey": ONE}


class Drained(NamedTuple):
    """One drain."""

    rate: float
    """Jobs a second, from the start of the first to the start of the last."""
    cost: float
    """Microseconds of the workers' processor time a job."""
    server_cost: float
    """Microseconds of the server's processor time a job."""
    trips: float
    """How many times the server read from a connection, a job."""
    commands: float
    """How many commands it ran, a job, those of functions included."""


class Enqueued(NamedTuple):
    """One run of enqueues."""

    rate: float
    cost: float
    """Microseconds of the client's processor time a job."""


class Counts(NamedTuple):
    """What the server has counted so far."""

    reads: int
    commands: int
    cost: float

    @classmethod
    def of(cls, server: Server) -> "Counts":
        with server.client() as client:
            told: Any = client.info("everything")
        cost = told["used_cpu_user"] + told["used_cpu_sys"]
        return cls(told["total_reads_processed"], told["total_commands_processed"], cost)


class Contest:
    """Contests on one server. It is flushed before each."""

    def __init__(self, server: Server, *, uvloop: bool = True) -> None:
        self.server = server
        self._uvloop = uvloop

    def told(self, **more: Any) -> Told:
        return Told(**{"url": self.server.url, "concurrency": 0, "uvloop": self._uvloop, **more})

    def enqueue(self, name: str, way: str, jobs: int, **more: Any) -> Enqueued:
        """Enqueue so many jobs; nobody runs them."""
        self.server.flush()
        return self._put(name, self.told(**more), way, jobs)

    def drain(self, name: str, jobs: int, workers: int = 1, **more: Any) -> Drained:
        """Enqueue so many jobs, then let so many worker processes run them."""
        told = self.told(**more)
        self.server.flush()
        self._put(name, told, BEST_WAY[name], jobs)
        with self._workers(name, told, workers) as probes:
            before = Counts.of(self.server)
            after, seen = self._await_all(name, probes, jobs)
        rate = (jobs - 1) / (max(one.last for one in seen) - min(one.first for one in seen if one.count))
        cost = sum(one.last_cost - one.first_cost for one in seen)
        return Drained(
            rate,
            1e6 * cost / jobs,
            1e6 * (after.cost - before.cost) / jobs,
            (after.reads - before.reads) / jobs,
            (after.commands - before.commands) / jobs,
        )

    def latencies(self, name: str, samples: int, **more: Any) -> tuple[list[float], list[float]]:
        """Return the seconds from enqueue to start, and to result, of jobs that find the worker idle."""
        told = self.told(**more)
        self.server.flush()
        with self._workers(name, told, 1) as [probe]:
            time.sleep(1.0)  # so that it is idle, not starting
            self._run(name, "call", told, samples=50)
            warm = probe.seen().count
            results = self._run(name, "call", told, samples=samples)
            starts = probe.delays()[warm:]
        return starts, results

    def _put(self, name: str, told: Told, way: str, jobs: int) -> Enqueued:
        taken = self._run(name, "put", told, way=way, jobs=jobs)
        return Enqueued(jobs / taken["wall"], 1e6 * taken["cost"] / jobs)

    def _await_all(self, name: str, probes: list[Probe], jobs: int) -> tuple[Counts, list[Seen]]:
        end = time.monotonic() + LONG
        while sum(probe.seen().count for probe in probes) < jobs:
            if time.monotonic() > end:
                raise TimeoutError(f"{[probe.seen().count for probe in probes]} of {jobs} jobs of {name} began")
            time.sleep(0.02)
        return Counts.of(self.server), [probe.seen() for probe in probes]

    @contextmanager
    def _workers(self, name: str, told: Told, count: int) -> Iterator[list[Probe]]:
        with tempfile.TemporaryDirectory(prefix="fifoq-bench-") as folder:
            paths = [Path(folder) / str(number) for number in range(count)]
            probes = [Probe(path) for path in paths]
            processes = [self._start(name, "work", told, probe=str(path)) for path in paths]
            try:
                for process in processes:
                    assert process.stdout is not None
                    assert process.stdout.readline() == "ready\n", f"{name} did not start"
                for process in processes:
                    assert process.stdin is not None
                    process.stdin.write("go\n")
                    process.stdin.flush()
                yield probes
            finally:
                for process in processes:
                    process.kill()
                    process.communicate()

    def _start(self, name: str, verb: str, told: Told, **more: Any) -> "subprocess.Popen[str]":
        order = json.dumps({"told": told._asdict(), **more})
        command = [sys.executable, "-m", "benchmarks.peers.run", name, verb, order]
        said = self.server.directory / f"{name}-{verb}.log"
        with said.open("w") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def _run(self, name: str, verb: str, told: Told, **more: Any) -> Any:
        process = self._start(name, verb, told, **more)
        said, _ = process.communicate(timeout=LONG)
        if process.returncode:
            raise RuntimeError(f"{name} {verb} failed: {self._last_words(name, verb)}")
        return json.loads(said.splitlines()[-1])

    def _last_words(self, name: str, verb: str) -> str:
        return "\n".join((self.server.directory / f"{name}-{verb}.log").read_text().splitlines()[-10:])
