"""Runs contestants on one Redis server, each in processes of its own, and measures them from outside."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contestants.on_redis.contestant import BATCH, FLIGHT, ONE, Options
from benchmarks.contestants.on_redis.probe import Probe, Progress
from tests.servers import Server

TIMEOUT = 120.0
"""Seconds after which a contestant counts as stuck."""
BEST_WAY = {"fifoq": BATCH, "taskiq": FLIGHT, "saq": FLIGHT, "arq": FLIGHT, "dramatiq": ONE, "huey": ONE}


class Drained(NamedTuple):
    """The result of one drain."""

    rate: float
    """Jobs a second, from the start of the first to the start of the last."""
    cost: float
    """Microseconds of the workers' processor time a job."""
    server_cost: float
    """Microseconds of the server's processor time a job."""
    trips: float
    """Reads of the server from its connections, a job."""
    commands: float
    """Commands that the server ran, a job, those within functions included."""


class Enqueued(NamedTuple):
    """The result of one run of enqueues."""

    rate: float
    cost: float
    """Microseconds of the client's processor time a job."""


class Counts(NamedTuple):
    """The counts of the server so far."""

    reads: int
    commands: int
    cost: float

    @classmethod
    def of(cls, server: Server) -> "Counts":
        with server.client() as client:
            info: Any = client.info("everything")
        cost = info["used_cpu_user"] + info["used_cpu_sys"]
        return cls(info["total_reads_processed"], info["total_commands_processed"], cost)


class Contest:
    """Contests on one server, which is flushed before each."""

    def __init__(self, server: Server, *, uvloop: bool = True) -> None:
        self.server = server
        self._uvloop = uvloop

    def _options(self, **more: Any) -> Options:
        return Options(**{"url": self.server.url, "concurrency": 0, "uvloop": self._uvloop, **more})

    def enqueue(self, name: str, way: str, jobs: int, **more: Any) -> Enqueued:
        """Enqueue so many jobs, without a worker."""
        self.server.flush()
        return self._put(name, self._options(**more), way, jobs)

    def drain(self, name: str, jobs: int, workers: int = 1, **more: Any) -> Drained:
        """Enqueue so many jobs, then let so many worker processes run them."""
        options = self._options(**more)
        self.server.flush()
        self._put(name, options, BEST_WAY[name], jobs)
        with self._workers(name, options, workers) as probes:
            before = Counts.of(self.server)
            after, found = self._await_all(name, probes, jobs)
        rate = (jobs - 1) / (max(one.last for one in found) - min(one.first for one in found if one.count))
        cost = sum(one.last_cost - one.first_cost for one in found)
        return Drained(
            rate,
            1e6 * cost / jobs,
            1e6 * (after.cost - before.cost) / jobs,
            (after.reads - before.reads) / jobs,
            (after.commands - before.commands) / jobs,
        )

    def latencies(self, name: str, samples: int, **more: Any) -> tuple[list[float], list[float]]:
        """Return the seconds from enqueue to start, and to result, of jobs for an idle worker."""
        options = self._options(**more)
        self.server.flush()
        with self._workers(name, options, 1) as [probe]:
            time.sleep(1.0)  # until the worker is idle
            self._run(name, "call", options, samples=50)
            warm = probe.progress().count
            results = self._run(name, "call", options, samples=samples)
            starts = probe.delays()[warm:]
        return starts, results

    def _put(self, name: str, options: Options, way: str, jobs: int) -> Enqueued:
        taken = self._run(name, "put", options, way=way, jobs=jobs)
        return Enqueued(jobs / taken["wall"], 1e6 * taken["cost"] / jobs)

    def _await_all(self, name: str, probes: list[Probe], jobs: int) -> tuple[Counts, list[Progress]]:
        end = time.monotonic() + TIMEOUT
        while sum(probe.progress().count for probe in probes) < jobs:
            if time.monotonic() > end:
                raise TimeoutError(f"{[probe.progress().count for probe in probes]} of {jobs} jobs of {name} started")
            time.sleep(0.02)
        return Counts.of(self.server), [probe.progress() for probe in probes]

    @contextmanager
    def _workers(self, name: str, options: Options, count: int) -> Iterator[list[Probe]]:
        with tempfile.TemporaryDirectory(prefix="fifoq-bench-") as folder:
            paths = [Path(folder) / str(number) for number in range(count)]
            probes = [Probe(path) for path in paths]
            processes = [self._start(name, "work", options, probe=str(path)) for path in paths]
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

    def _start(self, name: str, verb: str, options: Options, **more: Any) -> "subprocess.Popen[str]":
        arguments = json.dumps({"options": options._asdict(), **more})
        command = [sys.executable, "-m", "benchmarks.contestants.on_redis.process", name, verb, arguments]
        with self._log(name, verb).open("w") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def _run(self, name: str, verb: str, options: Options, **more: Any) -> Any:
        process = self._start(name, verb, options, **more)
        output, _ = process.communicate(timeout=TIMEOUT)
        if process.returncode:
            raise RuntimeError(f"{name} {verb} failed: {self._end_of_log(name, verb)}")
        return json.loads(output.splitlines()[-1])

    def _end_of_log(self, name: str, verb: str) -> str:
        return "\n".join(self._log(name, verb).read_text().splitlines()[-10:])

    def _log(self, name: str, verb: str) -> Path:
        return self.server.directory / f"{name}-{verb}.log"
