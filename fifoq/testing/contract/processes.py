"""
Contract, points 2, 8, 13, 14 and 20 over real processes: for backends whose store more than one process can reach.

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
"""Picklable; makes another unopened backend on the same store, in whatever process it is called."""

PROCESSES = 3
PATIENCE = 60.0
_spawn = multiprocessing.get_context("spawn")


class Run(NamedTuple):
    """One job's run: between these two moments, of the clock that all processes of a host share, its lease was held."""

    id: str
    key: str | None
    value: str | None
    seq: int
    fence: int
    begun: int
    ended: int


def work(make: MakeElsewhere, total: int) -> list[Run]:
    """Run jobs until all are done, in a process of its own."""
    driver = Driver(make())
    runs: list[Run] = []
    try:
        while driver.stats().succeeded < total:
            for lease in driver.leases(2):
                # From after the reply to before the settle: so long the lease was held for certain.
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
    """What a store that several processes share has to keep, beside QueueContract. One fixture, on a real clock."""

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

    def test_processes_keep_the_order_of_each_key_and_every_limit(
        self, driver: Driver, make_backend_elsewhere: MakeElsewhere
    ) -> None:
        driver.declare(limit=4)
        driver.declare("task", limit=Limit(2, by="tenant"))
        ids = driver.put(*(spec(f"k{number % 4}", value=f"v{number % 3}") for number in range(120)))
        with ProcessPoolExecutor(PROCESSES, _spawn) as pool:
            futures = [pool.submit(work, make_backend_elsewhere, len(ids)) for _ in range(PROCESSES)]
            runs = sorted((run for one in futures for run in one.result(PATIENCE)), key=lambda run: run.fence)
        assert sorted(run.id for run in runs) == sorted(ids)
        assert [run.fence for run in runs] == list(range(1, len(ids) + 1))
        for key in {run.key for run in runs}:
            line = [run for run in runs if run.key == key]
            assert [run.seq for run in line] == sorted(run.seq for run in line)
            assert all(first.ended <= second.begun for first, second in pairwise(line))
        assert most_at_once(runs) <= 4
        assert max(most_at_once([run for run in runs if run.value == f"v{n}"]) for n in range(3)) <= 2

    def test_what_a_killed_process_held_is_claimed_again_at_its_place(
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
        driver.pause()  # The queue is there before anybody waits on it.
        driver.resume()
        with ProcessPoolExecutor(1, _spawn) as pool:
            waiting = pool.submit(wait_for_one, make_backend_elsewhere)
            (a,) = driver.put(spec())
            assert waiting.result(PATIENCE) == [a]


def most_at_once(runs: list[Run]) -> int:
    """How many of the runs overlapped at most."""
    changes = sorted([(run.begun, 1) for run in runs] + [(run.ended, -1) for run in runs])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most
