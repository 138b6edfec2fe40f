"""
The files of a store are removed, replaced or emptied while a process has it open: it acknowledges nothing any more.

The next process would find nothing of it.
"""
# ruff: noqa: ASYNC240 -- the disk is local, and a test may block its loop

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq import Fifoq
from fifoq.errors import BackendUnavailable, OutcomeUnknown
from fifoq.limits import GateSettings
from fifoq.queue import Declare
from fifoq.record import Extension, Filter
from fifoq.testing import AsyncDriver, spec
from fifoq_sqlite import SqliteBackend, files
from fifoq_sqlite.session import Session

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""

Mishap = Callable[[Path], object]


def beside(path: Path, name: str) -> Path:
    return Path(f"{path}{name}")


def replace(path: Path) -> None:
    """Put a copy in the place of the file, as some editors and most restores do."""
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.rename(path)


def link(path: Path) -> None:
    """Move the file away and leave a link to it."""
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


def make_anew(path: Path) -> None:
    shutil.move(path.parent, path.parent.with_name("moved"))
    path.parent.mkdir()


def remove_all(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        beside(path, name).unlink()


AT_ONCE: dict[str, Mishap] = {
    "the store is removed": lambda path: path.unlink(),
    "the store is moved": lambda path: path.rename(path.with_name("moved")),
    "the store is replaced": replace,
    "the store is moved behind a link": link,
    "the log is removed": lambda path: beside(path, "-wal").unlink(),
    "the log is replaced": lambda path: replace(beside(path, "-wal")),
    "the log is moved behind a link": lambda path: link(beside(path, "-wal")),
    "the log's index is removed": lambda path: beside(path, "-shm").unlink(),
    "the log's index is replaced": lambda path: replace(beside(path, "-shm")),
    "all three are removed": remove_all,
    "the folder is moved": lambda path: shutil.move(path.parent, path.parent.with_name("moved")),
    "the folder is removed": lambda path: shutil.rmtree(path.parent),
    "the folder is made anew": make_anew,
    "fifoq's folder is removed": lambda path: shutil.rmtree(beside(path, "-fifoq")),
    "fifoq's folder is moved": lambda path: beside(path, "-fifoq").rename(path.with_name("moved")),
}
"""What an operator may do to a store that is open, as it shows in the folder that the store lies in."""
WITHIN_A_SECOND: dict[str, Mishap] = {
    "the lock is removed": lambda path: (beside(path, "-fifoq") / "lock").unlink(),
    "the turnstile is replaced": lambda path: replace(beside(path, "-fifoq") / "turn"),
    "the mark is removed": lambda path: (beside(path, "-fifoq") / "mark").unlink(),
    "the store is emptied": lambda path: os.truncate(path, 0),
    "the log is emptied": lambda path: os.truncate(beside(path, "-wal"), 0),
}
"""The same, without a trace there."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "jobs.db"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check looks at every file, as it does after a second."""
    monkeypatch.setattr(files, "_LOOK_EVERY", 0.0)


async def verbs(driver: AsyncDriver) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return a call of each verb that writes; half of them have nothing to change."""
    await driver.put(spec(id="failed"), spec(id="running"), spec(id="waiting"))
    queue = driver.queue
    failed, running = await driver.leases(2)
    await driver.fail(failed)
    extension = Extension("running", running.token, 10**9)
    return {
        "put": lambda: driver.put(spec(id="new")),
        "put with options": lambda: driver.put(spec(id="unique", unique="u", delay=5)),
        "put again": lambda: driver.put(spec(id="waiting")),
        "claim": lambda: driver.leases(5),
        "claim of nothing": lambda: driver.leases(5, tasks=["none"]),
        "extend": lambda: queue.extend([extension]),
        "settle": lambda: driver.succeed(running),
        "settle of a lost lease": lambda: driver.succeed(failed),
        "cancel": lambda: queue.cancel(["waiting"], ""),
        "cancel of nothing": lambda: queue.cancel(["none"], ""),
        "requeue": lambda: queue.requeue(["failed"]),
        "skip": lambda: queue.skip(["failed"]),
        "configure": lambda: queue.configure([Declare("task", GateSettings(capacity=5))]),
        "purge": lambda: queue.purge(10),
        "check": lambda: driver_check(driver),
    }


async def driver_check(driver: AsyncDriver) -> None:
    await driver.queue._store.check()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("mishap", [*AT_ONCE, *WITHIN_A_SECOND])
async def test_no_verb_is_acknowledged_afterwards(path: Path, backend: SqliteBackend, driver: Any, mishap: str) -> None:
    calls = await verbs(driver)
    {**AT_ONCE, **WITHIN_A_SECOND}[mishap](path)
    refused: dict[str, Exception] = {}
    for verb, call in calls.items():
        try:
            await call()
        except (BackendUnavailable, OutcomeUnknown) as error:
            refused[verb] = error
    # An emptied log is whole as long as nothing is in it: the first write shows the hole, and its outcome is unknown.
    unknown = {"put"} if mishap == "the log is emptied" else set[str]()
    kinds = {verb: type(error) for verb, error in refused.items()}
    assert kinds == {verb: OutcomeUnknown if verb in unknown else BackendUnavailable for verb in calls}
    assert [error for error in refused.values() if str(path.parent) not in str(error)] == []


@pytest.mark.parametrize("mishap", AT_ONCE)
async def test_the_change_of_a_name_is_seen_by_the_next_call(path: Path, driver: Any, mishap: str) -> None:
    await driver.put(spec())
    await driver.put(spec())
    AT_ONCE[mishap](path)
    with pytest.raises(BackendUnavailable, match=r"while it was open.*Restart all"):
        await driver.put(spec())


@pytest.mark.parametrize("mishap", AT_ONCE)
async def test_a_call_is_in_doubt_if_it_happens_during_the_call(
    path: Path, driver: Any, mishap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driver.put(spec())
    commit = Session.commit

    def after_the_mishap(session: Session) -> None:
        monkeypatch.setattr(Session, "commit", commit)
        AT_ONCE[mishap](path)
        session.commit()

    monkeypatch.setattr(Session, "commit", after_the_mishap)
    with pytest.raises(OutcomeUnknown, match="may be lost"):
        await driver.put(spec())


@pytest.mark.parametrize("lasts", [0.0, 0.03])
async def test_changes_beside_the_store_disturb_nothing(path: Path, driver: Any, lasts: float) -> None:
    for number in range(20):
        (path.parent / f"other-{number}").touch()
        await driver.put(spec())
        await asyncio.sleep(lasts)
    assert (await driver.queue.stats()).waiting == 20


async def test_a_store_that_is_put_back_goes_on(path: Path, backend: SqliteBackend, driver: Any) -> None:
    await driver.put(spec())
    moved = path.parent.with_name("moved")
    path.parent.rename(moved)
    with pytest.raises(BackendUnavailable):
        await driver.put(spec())
    moved.rename(path.parent)
    await driver.put(spec())
    await backend.close()
    await backend.open()
    assert (await driver.queue.stats()).accepted == 2


async def test_the_store_that_another_process_makes_meanwhile_is_left_alone(
    path: Path, url: str, backend: SqliteBackend, driver: Any, driver_of: Any
) -> None:
    await driver.put(spec())
    remove_all(path)
    other = SqliteBackend(url)
    await other.open()
    await driver_of(other).put(spec(id="theirs"))
    with pytest.raises(BackendUnavailable):
        await driver.put(spec(id="ours"))
    await backend.close()
    assert beside(path, "-wal").exists()
    await backend.open()
    found = await backend.queue("queue").find(Filter(), 0, 10)
    assert [record.spec.id for record in found.records] == ["theirs"]
    await other.close()


@pytest.mark.parametrize("linked", ["folder", "file"])
async def test_a_link_that_leads_elsewhere_is_a_store_that_was_replaced(
    tmp_path: Path, linked: str, driver_of: Any
) -> None:
    """As when a deployment makes `current` a link to its newest folder."""
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
    if linked == "folder":
        link, targets, name = tmp_path / "current", [tmp_path / "1", tmp_path / "2"], tmp_path / "current" / "jobs.db"
    else:
        link, targets = tmp_path / "current.db", [tmp_path / "1" / "jobs.db", tmp_path / "2" / "jobs.db"]
        name = link
        for target in targets:
            target.touch(0o600)
    link.symlink_to(targets[0])
    backend = SqliteBackend(f"sqlite:///{name}?synchronous=normal")
    await backend.open()
    driver = driver_of(backend)
    await driver.put(spec())
    link.unlink()
    with pytest.raises(BackendUnavailable, match="current"):
        await driver.put(spec())
    link.symlink_to(targets[1])
    with pytest.raises(BackendUnavailable, match="current"):
        await driver.put(spec())
    link.unlink()
    link.symlink_to(targets[0])
    await driver.put(spec())
    await backend.close()


# ---- apps and workers ----


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.ERROR)
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("busy", [False, True])
async def test_a_worker_is_not_ready_and_logs_it_once(
    path: Path, url: str, busy: bool, lines: Callable[[], list[str]]
) -> None:
    tasks = Fifoq(url, lease=3_600.0, grace=0.1)
    began = asyncio.Event()

    @tasks.task
    async def long() -> None:
        began.set()
        await asyncio.Event().wait()

    async with tasks, tasks.worker(concurrency=1) as worker:
        if busy:
            await long.enqueue()
            await long.enqueue()
            await began.wait()
        assert worker.ready
        remove_all(path)
        async with asyncio.timeout(LONG):
            while worker.ready or not lines():  # noqa: ASYNC110 -- there is no event for it
                await asyncio.sleep(0.01)
        with pytest.raises(BackendUnavailable):
            await tasks.check()
    (line,) = [line for line in lines() if "does not answer" in line]
    assert str(path) in line
    assert "Restart" in line
    assert "no restart" not in line


async def test_an_enqueue_raises_at_once_whatever_its_patience(path: Path, url: str) -> None:
    tasks = Fifoq(url, patience=10 * LONG)

    @tasks.task
    async def work() -> None: ...

    async with tasks:
        await work.enqueue()
        path.unlink()
        async with asyncio.timeout(LONG):
            with pytest.raises(BackendUnavailable):
                await work.enqueue()
