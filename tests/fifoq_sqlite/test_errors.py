"""Each fault raises its error of fifoq, loses nothing acknowledged, and work resumes when it is over."""
# ruff: noqa: ASYNC240 -- the disk is local, and a test may block its loop

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq.errors import (
    BackendBusy,
    BackendCorrupt,
    BackendError,
    BackendFull,
    BackendReadOnly,
    BackendUnavailable,
    OutcomeUnknown,
)
from fifoq.record import Extension, Filter, Hold
from fifoq.testing import spec
from fifoq_sqlite import SqliteBackend
from fifoq_sqlite.errors import translate

LONG = 30.0


@pytest.fixture
def patience(request: pytest.FixtureRequest) -> float:
    """The timeout of the store in seconds: long, for a loaded machine, unless a test is about it."""
    return getattr(request, "param", LONG)


@pytest.fixture
def url(path: Path, patience: float) -> str:
    return f"sqlite:///{path}?synchronous=normal&timeout={patience}"


async def ids(backend: SqliteBackend) -> list[str]:
    """Return the ids of all jobs, read from the file."""
    names: list[str] = []
    cursor: int | None = 0
    while cursor is not None:
        page = await backend.queue("queue").find(Filter(), cursor, 1_000)
        names += [record.spec.id for record in page.records]
        cursor = page.cursor
    return names


@pytest.mark.parametrize("patience", [0.5], indirect=True)
@pytest.mark.parametrize("kind", ["sqlite", "turn", "lock"])
async def test_a_lock_that_another_process_keeps_makes_calls_busy_and_then_they_go_on(
    path: Path, driver: Any, start: Any, kind: str
) -> None:
    await driver.put(spec(id="before"))
    holder = start("hold", path, kind)
    assert holder.stdout.readline() == "held\n"
    async with asyncio.timeout(LONG):
        for _ in range(3):
            with pytest.raises(BackendBusy, match="locked by others"):
                await driver.put(spec(id="during"))
    assert [record and record.spec.id for record in await driver.queue.get(["before", "during"])] == ["before", None]
    holder.stdin.close()
    holder.wait(LONG)
    await driver.put(spec(id="after"))
    assert len(await driver.leases(5)) == 2


@pytest.mark.parametrize("patience", [0.5], indirect=True)
async def test_an_opening_while_the_lock_is_kept_is_busy_too(path: Path, url: str, driver: Any, start: Any) -> None:
    holder = start("hold", path, "lock")
    assert holder.stdout.readline() == "held\n"
    other = SqliteBackend(url)
    async with asyncio.timeout(LONG):
        with pytest.raises(BackendBusy):
            await other.open()
    holder.stdin.close()
    holder.wait(LONG)
    await other.open()
    await other.close()


@pytest.mark.parametrize("patience", [0.5], indirect=True)
async def test_a_stopped_process_that_has_the_lock_makes_calls_busy_and_not_hang(
    path: Path, driver: Any, start: Any
) -> None:
    holder = start("hold", path, "lock")
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGSTOP)
    async with asyncio.timeout(LONG):
        with pytest.raises(BackendBusy):
            await driver.put(spec())
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(LONG)
    await driver.put(spec())


@pytest.mark.parametrize("patience", [0.5], indirect=True)
async def test_closing_does_not_wait_forever_for_the_lock(path: Path, url: str, driver_of: Any, start: Any) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    await driver_of(backend).put(spec(id="one"))
    holder = start("hold", path, "lock")
    assert holder.stdout.readline() == "held\n"
    async with asyncio.timeout(LONG):
        await backend.close()
    holder.stdin.close()
    holder.wait(LONG)
    await backend.open()
    assert await ids(backend) == ["one"]
    await backend.close()


async def test_a_full_store_takes_nothing_and_goes_on_when_there_is_room(backend: SqliteBackend, driver: Any) -> None:
    assert backend._store is not None
    writes = backend._store._write_connection

    def limit(pages: int) -> Callable[[sqlite3.Connection], Any]:
        return lambda raw: raw.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    (pages,) = await writes.run(lambda raw: raw.execute("PRAGMA page_count").fetchone())
    await writes.run(limit(pages + 40))
    taken: list[str] = []

    async def fill() -> None:
        for number in range(1_000):
            await driver.put(spec(id=f"{number}", payload=bytes(2_000)))
            taken.append(f"{number}")

    with pytest.raises(BackendFull, match="Make room"):
        await fill()
    assert await ids(backend) == taken
    (lease,) = await driver.leases()
    assert await driver.succeed(lease) == "succeeded"
    await writes.run(limit(1_000_000))
    await driver.put(spec(id="last"))
    assert await ids(backend) == [*taken[1:], "last"]
    assert (await driver.queue.audit()).differences == ()


async def test_a_file_size_limit_is_a_full_store(url: str, backend: SqliteBackend, start: Any) -> None:
    process = start("put", url, 1, "full")
    lines = process.communicate(timeout=LONG)[0].split()
    assert process.returncode == 0
    assert lines.count("BackendFull") == 1
    lines.remove("BackendFull")
    assert len(lines) > 5
    assert await ids(backend) == lines


async def test_a_process_that_is_killed_loses_nothing_that_was_acknowledged(
    path: Path, url: str, start: Any, backend: SqliteBackend
) -> None:
    await backend.close()
    process = start("put", url, 200, "die")
    lines = process.communicate(timeout=LONG)[0].split()
    assert process.returncode == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 0
    await backend.open()
    assert await ids(backend) == lines
    assert len(lines) == 200
    assert (await backend.queue("queue").audit()).differences == ()


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
async def test_a_log_that_lost_its_end_is_corrupt_and_stays_as_it_is(
    path: Path, url: str, start: Any, kept: float
) -> None:
    start("put", url, 50, "die").wait(LONG)
    log = Path(f"{path}-wal")
    size = int(log.stat().st_size * kept)
    os.truncate(log, size)
    backend = SqliteBackend(url)
    for _ in range(2):
        with pytest.raises(BackendCorrupt, match="acknowledged are missing"):
            await backend.open()
    # The operator removes the mark, and so accepts the loss.
    path.with_name("jobs.db-fifoq").joinpath("mark").unlink()
    await backend.open()
    assert len(await ids(backend)) < 50
    assert (await backend.queue("queue").audit()).differences == ()
    await backend.close()


async def test_a_log_that_is_cut_under_a_running_process_is_noticed(
    path: Path, backend: SqliteBackend, driver: Any
) -> None:
    for _ in range(50):
        await driver.put(spec(payload=bytes(1_000)))
    os.truncate(f"{path}-wal", 8_000)
    assert backend._store is not None
    for connection in (backend._store._write_connection, backend._store._read_connection):
        await connection.run(lambda raw: raw.execute("PRAGMA shrink_memory"))
    with pytest.raises(BackendCorrupt):
        await driver.leases(50)


async def test_a_corrupted_page_is_named_and_not_repaired(path: Path, url: str, start: Any) -> None:
    start("put", url, 300, "close").wait(LONG)
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
    broken = path.read_bytes()
    backend = SqliteBackend(url)
    with pytest.raises(BackendCorrupt, match=r"cannot be read as a store.*restore a backup"):
        await backend.open()
    assert path.read_bytes() == broken


async def test_one_corrupted_page_among_many_is_named_when_it_is_met(path: Path, url: str, start: Any) -> None:
    start("put", url, 300, "close").wait(LONG)
    data = bytearray(path.read_bytes())
    pages = [number for number in range(4096, len(data), 4096) if b"x" * 500 in data[number : number + 4096]]
    data[pages[3] : pages[3] + 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    backend = SqliteBackend(url)
    await backend.open()
    with pytest.raises(BackendCorrupt):
        await ids(backend)
    with pytest.raises(BackendCorrupt):
        await backend.queue("queue").audit()
    await backend.close()


async def test_an_emptied_file_is_not_started_anew(path: Path, url: str, start: Any) -> None:
    start("put", url, 10, "close").wait(LONG)
    path.write_bytes(b"")
    with pytest.raises(BackendCorrupt, match="missing"):
        await SqliteBackend(url).open()
    assert path.read_bytes() == b"" or b"fifoq_jobs" not in path.read_bytes()


async def test_a_store_that_takes_no_writes_is_read_only_and_can_be_read(backend: SqliteBackend, driver: Any) -> None:
    await driver.put(spec(id="one"))
    assert backend._store is not None
    await backend._store._write_connection.run(lambda raw: raw.execute("PRAGMA query_only = 1"))
    with pytest.raises(BackendReadOnly, match="permissions"):
        await driver.put(spec())
    assert await ids(backend) == ["one"]


READ_ONLY = """
import asyncio, os, sys
from fifoq.errors import BackendReadOnly
from fifoq_sqlite import SqliteBackend
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    asyncio.run(SqliteBackend(sys.argv[1]).open())
except BackendReadOnly as error:
    print("BackendReadOnly")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without rights")
@pytest.mark.parametrize("denied", ["file", "folder"])
async def test_a_user_without_rights_gets_backend_read_only(url: str, path: Path, start: Any, denied: str) -> None:
    if denied == "file":
        start("put", url, 1, "close").wait(LONG)
    for folder in (path.parent, *path.parent.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", READ_ONLY, url, stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"BackendReadOnly\n"


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="folder"):
        await SqliteBackend(f"sqlite:///{tmp_path}/missing/jobs.db").open()
    with pytest.raises(BackendUnavailable):
        await SqliteBackend(f"sqlite:///{tmp_path}").open()


async def test_a_never_closed_backend_lets_the_interpreter_exit(url: str, start: Any, backend: SqliteBackend) -> None:
    process = start("put", url, 5, "exit")
    lines = process.communicate(timeout=LONG)[0].split()
    assert process.returncode == 0
    assert await ids(backend) == lines


async def test_a_child_after_fork_uses_nothing_of_its_parents(url: str, start: Any, backend: SqliteBackend) -> None:
    process = start("put", url, 3, "fork")
    lines = process.communicate(timeout=LONG)[0].splitlines()
    assert process.returncode == 0
    # If the child opened the file again, it would hold no locks, and other processes would remove its log.
    assert lines[3:6] == ["refused", "refused again", "child 0"]
    assert await ids(backend) == [*lines[:3], lines[6]]
    assert (await backend.queue("queue").audit()).differences == ()


async def test_a_child_may_open_what_its_parent_has_closed(url: str, start: Any, backend: SqliteBackend) -> None:
    process = start("put", url, 3, "close_and_fork")
    lines = process.communicate(timeout=LONG)[0].splitlines()
    assert process.returncode == 0
    assert lines[4:] == ["child 0"]
    assert await ids(backend) == lines[:4]


async def test_a_child_keeps_no_lock_when_its_parent_is_killed_in_a_transaction(
    url: str, start: Any, driver: Any
) -> None:
    process = start("put", url, 0, "orphan")
    process.wait(LONG)
    assert process.returncode == -signal.SIGKILL
    await driver.put(spec())
    assert (await driver.queue.stats()).accepted == 1


async def test_a_stale_token_settles_and_extends_nothing(driver: Any) -> None:
    await driver.put(spec("k", id="one"))
    (lease,) = await driver.leases(lease=1_000)
    async with asyncio.timeout(LONG):
        while not (again := await driver.leases()):
            await driver.queue.wait(0.005)
    assert await driver.succeed(lease) is None
    assert await driver.queue.extend([Extension("one", lease.token, 10**6)]) == (Hold.LOST,)
    assert await driver.succeed_all(*again) == ("succeeded",)


@pytest.mark.parametrize(
    ("name", "committing", "kind"),
    [
        ("SQLITE_BUSY", False, BackendBusy),
        ("SQLITE_BUSY_SNAPSHOT", False, BackendBusy),
        ("SQLITE_LOCKED", False, BackendBusy),
        ("SQLITE_FULL", True, BackendFull),
        ("SQLITE_IOERR_WRITE", True, BackendFull),
        ("SQLITE_READONLY_DBMOVED", False, BackendReadOnly),
        ("SQLITE_CORRUPT_INDEX", False, BackendCorrupt),
        ("SQLITE_NOTADB", False, BackendCorrupt),
        ("SQLITE_IOERR_SHORT_READ", False, BackendCorrupt),
        ("SQLITE_IOERR_FSYNC", False, BackendUnavailable),
        ("SQLITE_IOERR_FSYNC", True, OutcomeUnknown),
        ("SQLITE_CANTOPEN", False, BackendUnavailable),
    ],
)
def test_an_error_of_sqlite_is_translated(name: str, committing: bool, kind: type[BackendError]) -> None:
    error = sqlite3.OperationalError("the text of SQLite")
    error.sqlite_errorname = name
    found = translate(error, Path("/jobs.db"), 5.0, committing=committing)
    assert type(found) is kind
    assert "/jobs.db" in str(found)


def test_a_bug_in_the_code_is_no_error_of_the_store() -> None:
    assert translate(TypeError("a bug"), Path("/jobs.db"), 5.0) is None
