"""
Contract, points 1, 2, 8, 13, 14 and 20 over real processes: for backends whose store several processes share.

    class TestMyBackendInProcesses(ProcessContract):
        @pytest.fixture
        def make_backend_elsewhere(self, tmp_path):
            return functools.partial(MyBackend, f"mine:///{tmp_path}/jobs")
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import pytest

from fifoq.clock import SECOND
from fifoq.limits import Limit
from fifoq.queue import Backend
from fifoq.testing.contract.base import check_soundness
from fifoq.testing.driver import Driver, spec

MakeElsewhere = Callable[[], Backend]
"""Picklable. Makes another unopened backend on the same store, in any process."""

PROCESSES = 4
"""The number of processes that claim, and of those that put."""
EACH = 40
"""Jobs that each producer puts."""
PATIENCE = 60.0
_spawn = multiprocessing.get_context("spawn")


class Run(NamedTuple):
    """A run of a job, whose lease was held from `begun` to `ended` on the clock that all processes of a host share."""

    id: str
    key: str | None
    value: str | None
    seq: int
    fence: int
    begun: int
    ended: int


def enqueue(make: MakeElsewhere, producer: str) -> list[str]:
    """Put jobs one by one and some together, in a process of its own; return their ids in that order."""
    driver = Driver(make())
    ids: list[str] = []
    try:
        for first in range(0, EACH, 4):
            one, *batch = (
                spec(f"k{number % 3}", id=f"{producer}-{number}", value=f"v{number % 2}")
                for number in range(first, first + 4)
            )
            ids += driver.put(one)
            ids += driver.put(*batch)
    finally:
        driver.close()
    return ids


def work(make: MakeElsewhere, total: int) -> list[Run]:
    """Run jobs until all are done, in a process of its own."""
    driver = Driver(make())
    runs: list[Run] = []
    try:
        while driver.stats().succeeded < total:
            leases = driver.leases(2)
            if not leases:
                driver.run(driver.queue.wait(0.05))
            for lease in leases:
                # From after the reply to before the settle the lease was certainly held.
                begun, ended = time.monotonic_ns(), time.monotonic_ns()
                runs.append(Run(lease.spec.id, lease.spec.key, lease.spec.value, lease.seq, lease.fence, begun, ended))
                driver.succeed(lease)
    finally:
        driver.close()
    return runs


def claim_and_hang(make: MakeElsewhere) -> None:
    """Claim one job and never settle it."""
    driver = Driver(make())
    driver.lease(lease=SECOND // 2)
    time.sleep(PATIENCE)


def wait_for_one(make: MakeElsewhere) -> list[str]:
    """Wait until a job may be claimed, and claim it."""
    driver = Driver(make())
    try:
        until = time.monotonic() + PATIENCE
        while not (claimed := driver.claim()) and time.monotonic() < until:
            driver.run(driver.queue.wait(5))
    finally:
        driver.close()
    return claimed


class ProcessContract:
    """The contract of a store that several processes share, besides QueueContract. One fixture, on a real clock."""

    @pytest.fixture
    def make_backend_elsewhere(self) -> MakeElsewhere:
        raise RuntimeError("A subclass of ProcessContract defines the fixture make_backend_elsewhere.")

    @pytest.fixture
    def driver(self, make_backend_elsewhere: MakeElsewhere) -> Iterator[Driver]:
        driver = Driver(make_backend_elsewhere())
        try:
            yield driver
            check_soundness(driver)
        finally:
            driver.close()

    def test_processes_that_put_and_claim_at_a_time_keep_the_order_of_each_key_and_every_limit(
        self, driver: Driver, make_backend_elsewhere: MakeElsewhere
    ) -> None:
        driver.declare(limit=3)
        driver.declare("task", limit=Limit(2, by="tenant"))
        total = PROCESSES * EACH
        with ProcessPoolExecutor(2 * PROCESSES, _spawn) as pool:
            workers = [pool.submit(work, make_backend_elsewhere, total) for _ in range(PROCESSES)]
            producers = [pool.submit(enqueue, make_backend_elsewhere, f"p{number}") for number in range(PROCESSES)]
            entered = [one.result(PATIENCE) for one in producers]
            runs = sorted((run for one in workers for run in one.result(PATIENCE)), key=lambda run: run.fence)
        assert sorted(run.id for run in runs) == sorted(id for ids in entered for id in ids)
        assert [run.fence for run in runs] == list(range(1, total + 1))
        for key in {run.key for run in runs}:
            line = [run for run in runs if run.key == key]
            assert [run.seq for run in line] == sorted(run.seq for run in line)
            assert all(first.ended <= second.begun for first, second in pairwise(line))
        for ids in entered:
            of_producer = sorted((run for run in runs if run.id in ids), key=lambda run: run.seq)
            assert [run.id for run in of_producer] == ids
        assert most_at_once(runs) <= 3
        assert max(most_at_once([run for run in runs if run.value == f"v{n}"]) for n in range(2)) <= 2

    def test_jobs_of_a_killed_process_are_claimed_again_at_their_place(
        self, driver: Driver, make_backend_elsewhere: MakeElsewhere
    ) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        victim = _spawn.Process(target=claim_and_hang, args=(make_backend_elsewhere,))
        victim.start()
        until = time.monotonic() + PATIENCE
        while driver.stats().running == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        while not (leases := driver.leases()) and time.monotonic() < until:
            time.sleep(0.05)
        assert [(lease.spec.id, lease.crashes, lease.attempt) for lease in leases] == [(a, 1, 2)]
        driver.succeed(leases[0])
        assert driver.drain() == [b]

    def test_a_put_wakes_a_worker_in_another_process(
        self, driver: Driver, make_backend_elsewhere: MakeElsewhere
    ) -> None:
        driver.pause()  # The queue exists before a process waits on it.
        driver.resume()
        with ProcessPoolExecutor(1, _spawn) as pool:
            waiting = pool.submit(wait_for_one, make_backend_elsewhere)
            (a,) = driver.put(spec())
            assert waiting.result(PATIENCE) == [a]


def most_at_once(runs: list[Run]) -> int:
    """Return the largest number of runs that overlapped."""
    changes = sorted([(run.begun, 1) for run in runs] + [(run.ended, -1) for run in runs])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most
