"""The files of a store: their permissions, their sizes, and those that remain after it is closed."""
# ruff: noqa: ASYNC240 -- the disk is local, and a test may block its loop

import asyncio
import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fifoq.errors import BackendCorrupt, BackendUnavailable, ConfigurationError
from fifoq.queue import Call
from fifoq.testing import spec
from fifoq_sqlite import SqliteBackend, files, transactions

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_every_file_is_its_owners_alone(path: Path, driver: Any) -> None:
    await driver.put(spec())
    folder = path.with_name("jobs.db-fifoq")
    files = [path, Path(f"{path}-wal"), Path(f"{path}-shm"), *folder.iterdir()]
    assert {file.name: oct(mode(file)) for file in files if mode(file) != 0o600} == {}
    assert mode(folder) == 0o700


async def test_a_careless_umask_opens_nothing(path: Path, url: str, driver_of: Any) -> None:
    before = os.umask(0)
    try:
        backend = SqliteBackend(url)
        await backend.open()
        await driver_of(backend).put(spec())
        await backend.close()
    finally:
        os.umask(before)
    assert mode(path) == 0o600


async def test_a_link_to_nowhere_is_not_followed(path: Path, url: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    path.symlink_to(target)
    with pytest.raises(BackendUnavailable, match="link to nowhere"):
        await SqliteBackend(url).open()
    assert not target.exists()


async def test_two_names_of_one_file_are_one_store(path: Path, url: str, driver: Any, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.symlink_to(path)
    twin = SqliteBackend(f"sqlite:///{other}?synchronous=normal")
    await twin.open()
    await driver.put(spec(id="one"))
    assert [record and record.spec.id for record in await twin.queue("queue").get(["one"])] == ["one"]
    await twin.close()
    assert not Path(f"{other}-fifoq").exists()


async def test_closing_leaves_the_file_whole_and_no_pipe(path: Path, url: str, driver_of: Any) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    await driver_of(backend).put(spec())
    await asyncio.wait_for(backend.close(), LONG)
    await asyncio.wait_for(backend.close(), LONG)
    assert not Path(f"{path}-wal").exists()
    assert sorted(file.name for file in path.with_name("jobs.db-fifoq").iterdir()) == ["lock", "mark", "turn"]


async def test_closing_closes_every_descriptor(url: str, driver_of: Any) -> None:
    def descriptors() -> set[tuple[str, str]]:
        """Each with its target: the garbage collector may close those of earlier tests meanwhile."""
        folder = Path("/proc/self/fd")
        return {(fd, os.readlink(folder / fd)) for fd in os.listdir(folder) if (folder / fd).is_symlink()}

    backend = SqliteBackend(url)
    before = descriptors()
    for _ in range(5):
        await backend.open()
        await driver_of(backend).put(spec())
        await backend.close()
    assert descriptors() - before == set()


async def test_the_log_stays_bounded(path: Path, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "LARGE_LOG", 256 * 1024)
    log = Path(f"{path}-wal")
    largest = 0
    for _ in range(300):
        await driver.put(spec(payload=bytes(8_000)))
        await driver.succeed_all(*await driver.leases())
        largest = max(largest, log.stat().st_size)
    assert largest < 1_500_000


async def test_the_log_is_written_again_in_place(path: Path, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that grows makes a flush cost twice as much."""
    monkeypatch.setattr(transactions, "CHECKPOINT_COMMITS", 20)
    log = Path(f"{path}-wal")
    sizes: list[int] = []
    for _ in range(200):
        await driver.put(spec())
        await driver.succeed_all(*await driver.leases())
        sizes.append(log.stat().st_size)
    assert sizes[100:] == sizes[100:101] * 100


async def test_the_log_is_cut_once_a_long_reader_is_gone(
    path: Path, backend: SqliteBackend, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "LARGE_LOG", 256 * 1024)
    monkeypatch.setattr(transactions, "TRUNCATE_AGAIN", 0.0)
    assert backend._store is not None
    await driver.put(spec())
    await backend._store._read_connection.run(
        lambda raw: raw.execute("BEGIN").connection.execute("SELECT * FROM fifoq_jobs").fetchall()
    )
    for _ in range(100):
        await driver.put(spec(payload=bytes(8_000)))
    assert Path(f"{path}-wal").stat().st_size > 700_000
    await backend._store._read_connection.run(lambda raw: raw.execute("COMMIT"))
    for _ in range(20):
        await driver.put(spec())
    assert Path(f"{path}-wal").stat().st_size < 300_000


async def test_a_store_of_a_newer_fifoq_is_refused_with_both_versions_named(
    path: Path, url: str, backend: SqliteBackend
) -> None:
    await backend.write(lambda session: session.change("store_migrate", (7, "9.9.9")))
    await backend.close()
    with pytest.raises(ConfigurationError, match=r"schema 7.*9\.9\.9.*up to 3"):
        await backend.open()


async def test_a_store_of_an_older_fifoq_is_brought_up_to_date_with_its_jobs(
    path: Path, url: str, backend: SqliteBackend, driver: Any
) -> None:
    await driver.put(spec("k", id="running"), spec("k", id="next"))
    (lease,) = await driver.leases()
    await backend.close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for column in ("lead", "origin", "used"):
            connection.execute(f"ALTER TABLE fifoq_gates DROP COLUMN {column}")
        connection.execute("UPDATE fifoq_store SET migration = 1")
    await backend.open()
    assert await driver.succeed(lease) == "succeeded"
    assert await driver.claim(5) == ["next"]
    assert (await driver.queue.audit()).differences == ()


async def test_a_newer_fifoq_that_comes_while_it_is_open_is_noticed(
    url: str, backend: SqliteBackend, driver_of: Any
) -> None:
    other = backend.twin()
    await other.open()
    await driver_of(other).put(spec())
    await backend.write(lambda session: session.change("store_migrate", (7, "9.9.9")))
    with pytest.raises(ConfigurationError, match="schema 7"):
        await other.queue("queue").put(Call("c", 1), [[spec()]])
    await other.close()


async def test_many_backends_that_open_a_new_file_at_once_make_one_store(url: str, driver_of: Any) -> None:
    backends = [SqliteBackend(url) for _ in range(8)]
    await asyncio.gather(*(backend.open() for backend in backends))
    await asyncio.gather(*(driver_of(backend).put(spec()) for backend in backends))
    assert (await backends[0].queue("queue").stats()).waiting == 8
    await asyncio.gather(*(backend.close() for backend in backends))


async def test_a_file_that_is_no_store_is_left_as_it_is(path: Path, url: str) -> None:
    path.write_bytes(b"a letter to a friend, long enough to be taken for a page of data" * 100)
    before = path.read_bytes()
    with pytest.raises(BackendCorrupt):
        await SqliteBackend(url).open()
    assert path.read_bytes() == before


async def test_a_file_that_is_replaced_while_open_is_noticed(path: Path, backend: SqliteBackend) -> None:
    await backend.check()
    path.rename(path.with_name("moved.db"))
    with pytest.raises(BackendUnavailable, match="removed or replaced"):
        await backend.check()
    path.write_bytes(b"")
    with pytest.raises(BackendUnavailable, match="removed or replaced"):
        await backend.check()
    path.unlink()
    path.with_name("moved.db").rename(path)


# ---- the mark ----


@pytest.fixture
async def mark(path: Path, url: str, driver_of: Any) -> Path:
    """The mark of a store that is whole."""
    backend = SqliteBackend(url)
    await backend.open()
    await driver_of(backend).put(spec())
    await backend.close()
    return path.with_name("jobs.db-fifoq") / "mark"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 56), stale=st.binary(max_size=60), rest=st.booleans())
def test_stale_bytes_in_a_mark_are_no_mark(mark: Path, start: int, stale: bytes, rest: bool) -> None:
    whole = mark.read_bytes()
    mixed = whole[:start] + stale + (whole[start + len(stale) :] if rest else b"")
    mark.write_bytes(mixed)
    folder = files.Folder(mark.parent)
    reader = files.CommitMark(folder, flushes=True)
    if mixed[:57] != whole and len(mixed) != 53:
        assert reader.read() is None
    reader.close()
    folder.close()
    mark.write_bytes(whole)


async def test_a_store_with_stale_bytes_in_its_mark_opens(mark: Path, url: str) -> None:
    whole = mark.read_bytes()
    backend = SqliteBackend(url)
    for stale in (bytes(57), b"\xff" * 512, whole[:8] + b"\xff" * 8 + whole[16:], whole[:20]):
        mark.write_bytes(stale)
        await backend.open()
        await backend.close()


@pytest.mark.parametrize("checksum", [0, 4])
async def test_a_mark_is_read_with_its_checksum_and_without_as_of_an_older_fifoq(
    mark: Path, url: str, path: Path, checksum: int
) -> None:
    mark.write_bytes(mark.read_bytes()[: 53 + checksum])
    backend = SqliteBackend(url)
    await backend.open()
    await backend.close()
    path.write_bytes(b"")
    with pytest.raises(BackendCorrupt, match="missing"):
        await backend.open()


async def test_check_advises_on_open_permissions(path: Path, backend: SqliteBackend) -> None:
    path.chmod(0o644)
    advice = await backend.check()
    assert any("open to others" in sentence for sentence in advice)
    path.chmod(0o600)
    assert not any("open to others" in sentence for sentence in await backend.check())
