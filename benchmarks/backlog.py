"""A queue with many waiting jobs, called below the client: for benchmarks of the single verbs of a backend."""

import secrets
from collections.abc import Callable, Sequence
from itertools import count

from fifoq.clock import SECOND
from fifoq.queue import Call, Queue
from fifoq.record import JobSpec, Lease, Release, Settlement, Succeed

TASK = "t"
DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
"""Numbers of waiting jobs that the benchmarks compare."""

Make = Callable[[int], JobSpec]
"""Makes the n-th job."""

_LEASE = 3_600 * SECOND
_PAYLOAD = b"\x92\x90\x80" + bytes(60)
_RESULT = b"\xc0"


def on_one_key(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, _PAYLOAD, key="hot")


def a_key_each(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, _PAYLOAD, key=f"k{number}")


def unkeyed(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, _PAYLOAD)


def on_thousand_keys(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, _PAYLOAD, key=f"k{number % 1_000}")


def of_tenants(number: int) -> JobSpec:
    """For limits of a queue, a task and a hundred tenants, with all priorities."""
    return JobSpec(f"j{number}", TASK, _PAYLOAD, value=f"tenant-{number % 100}", priority=number % 19 - 9)


KINDS: dict[str, Make] = {"on one key": on_one_key, "a key each": a_key_each, "unkeyed": unkeyed}
"""The kinds of backlog whose depths are compared."""


class Backlog:
    """The jobs of one queue, made by `make` one after another, and one caller of all its verbs."""

    def __init__(self, queue: Queue, make: Make) -> None:
        self.queue = queue
        self._make = make
        self._made = 0
        self._caller = secrets.token_hex(16)
        self._calls = count(1)

    def new_jobs(self, jobs: int) -> list[JobSpec]:
        """Make the next jobs, without putting them."""
        self._made += jobs
        return [self._make(number) for number in range(self._made - jobs, self._made)]

    async def put(self, specs: Sequence[JobSpec]) -> None:
        await self.queue.put(self._call(), [specs])

    async def fill(self, jobs: int) -> None:
        """Put so many new jobs, a thousand a call."""
        for start in range(0, jobs, 1_000):
            await self.put(self.new_jobs(min(1_000, jobs - start)))

    async def claim(self, n: int) -> tuple[Lease, ...]:
        return (await self.queue.claim(self._call(), "w", n, _LEASE, [TASK])).leases

    async def succeed(self, leases: Sequence[Lease]) -> None:
        outcome = Succeed(_RESULT, 0)
        await self.queue.settle(self._call(), [Settlement(lease.spec.id, lease.token, outcome) for lease in leases])

    async def release(self, lease: Lease) -> None:
        await self.queue.settle(self._call(), [Settlement(lease.spec.id, lease.token, Release(0, 0))])

    def _call(self) -> Call:
        return Call(self._caller, next(self._calls))
