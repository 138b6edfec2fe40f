"""
Under synchronous=full nothing is acknowledged that a loss of power could take: the log is flushed before.

That holds for every reply, also if it rests on a commit of another process that did not flush it: that process runs
with synchronous=normal, or died between the write and the flush, which leaves the same log.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq.limits import GateSettings
from fifoq.queue import Call, Declare, Receipt
from fifoq.record import JobSpec, Record, State
from fifoq.testing import AsyncDriver, spec
from fifoq_sqlite import SqliteBackend, files
from fifoq_sqlite.session import Session

LONG = 30.0


class Disk:
    """The disk below a store: what a loss of power leaves of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.image = path.parent / "after the power cut" / path.name
        self.image.parent.mkdir()
        self.flushes = 0

    def flush(self) -> None:
        """Write all that the kernel holds to the disk."""
        self.flushes += 1
        for name in ("", "-wal"):
            shutil.copy(f"{self.path}{name}", f"{self.image}{name}")

    async def jobs(self, *ids: str) -> list[Record | None]:
        """Return these jobs, as a process finds them after the power has gone and come back."""
        for name in ("", "-wal"):  # the kernel writes the file and the log in any order, so at worst neither
            shutil.copy(f"{self.image}{name}", f"{self.image}-copy{name}")
        backend = SqliteBackend(f"sqlite:///{self.image}-copy?synchronous=normal")
        await backend.open()
        found = await backend.queue("queue").get(ids)
        await backend.close()
        return list(found)


@pytest.fixture
def disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk, which sees each flush of SQLite and of fifoq."""
    disk = Disk(path)
    commit = Session.commit

    def committed(session: Session) -> None:
        commit(session)
        level = session.connection.execute("PRAGMA synchronous").fetchone()[0]
        if session.changes and level == 2:
            disk.flush()

    def sync(descriptor: int) -> None:
        real(descriptor)
        disk.flush()

    real = files.sync
    monkeypatch.setattr(Session, "commit", committed)
    monkeypatch.setattr(files, "sync", sync)
    return disk


@pytest.fixture
async def full(path: Path, disk: Disk, backend: SqliteBackend) -> AsyncIterator[AsyncDriver]:
    """A process that flushes, beside `driver`, which does not."""
    backend = SqliteBackend(f"sqlite:///{path}")
    await backend.open()
    yield AsyncDriver(backend.queue("queue"))
    await backend.close()


@pytest.mark.parametrize("options", [{}, {"unique": "u"}, {"delay": 60}, {"expires": 60}, {"unique": "u", "delay": 60}])
async def test_a_repeated_enqueue_after_a_death_before_the_flush_survives(
    path: Path, url: str, start: Any, disk: Disk, options: dict[str, Any]
) -> None:
    process = start("put", url, 3, "die")
    *_, id = process.communicate(timeout=LONG)[0].split()
    successor = SqliteBackend(f"sqlite:///{path}")
    await successor.open()
    assert disk.flushes >= 1
    again = JobSpec(id, "task", b"x" * 500, "k", **options)
    replies = await successor.queue("queue").put(Call("successor", 1), [[again]])
    assert replies == ((Receipt(id, False),),)
    (survivor,) = await disk.jobs(id)
    assert survivor is not None
    await successor.close()


async def test_opening_flushes_before_anything_is_read(path: Path, url: str, start: Any, disk: Disk) -> None:
    process = start("put", url, 3, "die")
    *_, id = process.communicate(timeout=LONG)[0].split()
    successor = SqliteBackend(f"sqlite:///{path}")
    await successor.open()
    assert None not in await disk.jobs(id)
    await successor.close()


Verb = Callable[[AsyncDriver], Awaitable[Any]]
SETTLED: dict[str, Verb] = {
    "put": lambda driver: driver.put_reply(spec(id="job")),
    "put, delayed": lambda driver: driver.put_reply(spec(id="job", delay=60)),
    "put, unique": lambda driver: driver.put_reply(spec(id="job", unique="u")),
    "put, unique, by another id": lambda driver: driver.put_reply(spec(id="other", unique="unique job")),
    "put of a batch": lambda driver: driver.put_reply(spec(id="job"), spec(id="unique")),
    "cancel": lambda driver: driver.queue.cancel(["cancelled"], ""),
    "requeue": lambda driver: driver.queue.requeue(["job"]),
    "skip": lambda driver: driver.queue.skip(["job"]),
    "configure": lambda driver: driver.queue.configure([Declare("task", GateSettings(capacity=9))]),
    "purge": lambda driver: driver.queue.purge(10),
}
"""Calls that find that all is done already, by another process."""


@pytest.mark.parametrize("verb", SETTLED)
async def test_a_reply_that_rests_on_a_commit_of_an_unflushing_process_flushes_it(
    driver: Any, full: AsyncDriver, disk: Disk, verb: str
) -> None:
    await full.put(spec(id="before"))
    await driver.put(spec(id="job"), spec(id="cancelled"), spec(id="unique", unique="unique job"))
    await driver.queue.cancel(["cancelled"], "")
    await driver.queue.configure([Declare("task", GateSettings(capacity=9))])
    assert await disk.jobs("job", "cancelled") == [None, None]
    before = disk.flushes
    await SETTLED[verb](full)
    assert disk.flushes == before + 1
    job, cancelled = await disk.jobs("job", "cancelled")
    assert job is not None
    assert cancelled is None or cancelled.state is State.CANCELLED
    if verb not in ("put", "put of a batch"):  # an attempt to insert plain jobs is a transaction like any other
        await SETTLED[verb](full)
        assert disk.flushes == before + 1  # it is all on the disk


async def test_the_empty_claims_of_an_idle_worker_cost_no_flush(driver: Any, full: AsyncDriver, disk: Disk) -> None:
    await full.put(spec(id="job"))
    before = disk.flushes
    for _ in range(5):
        await driver.put(spec(delay=60))
        assert await full.leases(5, tasks=["none"]) == ()
    assert disk.flushes == before
