"""
Links, folders, pipes and other users' files lie where fifoq makes or opens its own: it refuses them.

And the numbers that describe a store are read strictly: each wrong value is BackendCorrupt or ConfigurationError.
"""
# ruff: noqa: ASYNC240 -- the disk is local, and a test may block its loop

import contextlib
import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq.errors import BackendCorrupt, BackendError, BackendUnavailable, ConfigurationError
from fifoq.limits import GateSettings
from fifoq.queue import Declare
from fifoq.testing import spec
from fifoq_sqlite import SqliteBackend

NAMES = (
    "jobs.db-fifoq",
    "jobs.db-fifoq/lock",
    "jobs.db-fifoq/turn",
    "jobs.db-fifoq/mark",
    "jobs.db-wal",
    "jobs.db-shm",
)
"""Every path beside the store that fifoq or SQLite makes or opens, but for the pipes, whose names are random."""
NOBODY = 65534


def link_to_a_folder(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def link_to_a_file(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "file")


def link_to_a_new_file(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "new")


def folder(path: Path, _: Path) -> None:
    path.mkdir()


def file(path: Path, _: Path) -> None:
    path.touch(0o600)


def pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def listening(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)


def foreign_file(path: Path, _: Path) -> None:
    path.touch(0o600)
    os.chown(path, NOBODY, -1)


def foreign_folder(path: Path, _: Path) -> None:
    path.mkdir(0o700)
    os.chown(path, NOBODY, -1)


Plant = Callable[[Path, Path], None]
PLANTS: tuple[Plant, ...] = (link_to_a_folder, link_to_a_file, link_to_a_new_file, folder, file, pipe, listening)
FOREIGN: tuple[Plant, ...] = (foreign_file, foreign_folder)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of another user's, with a file."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "file").write_text("theirs")
    return folder


def prepared(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.parent.mkdir(0o700, exist_ok=True)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plant", [*PLANTS, *FOREIGN])
async def test_a_file_that_is_not_fifoqs_is_refused_and_left_alone(
    tmp_path: Path, url: str, elsewhere: Path, name: str, plant: Plant
) -> None:
    if plant in FOREIGN and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    right = folder if name == NAMES[0] else file
    if plant is right:
        return
    planted = prepared(tmp_path, name)
    plant(planted, elsewhere)
    before = os.lstat(planted)
    backend = SqliteBackend(url)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"[Rr]emove it") as raised:
            await backend.open()
        assert str(planted) in str(raised.value)
    assert {path.name for path in elsewhere.iterdir()} == {"file"}
    assert (elsewhere / "file").read_text() == "theirs"
    assert os.path.samestat(before, os.lstat(planted))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_a_store_of_another_user_is_refused(path: Path, url: str) -> None:
    path.touch(0o600)
    os.chown(path, NOBODY, -1)
    with pytest.raises(ConfigurationError, match=f"belongs to user {NOBODY}"):
        await SqliteBackend(url).open()
    assert path.stat().st_size == 0


@pytest.mark.parametrize("plant", [folder, pipe, listening])
async def test_a_store_that_is_no_file_is_refused(path: Path, url: str, elsewhere: Path, plant: Plant) -> None:
    plant(path, elsewhere)
    with pytest.raises((ConfigurationError, BackendUnavailable), match=r"jobs\.db"):
        await SqliteBackend(url).open()


@pytest.mark.parametrize("plant", [link_to_a_file, link_to_a_new_file, folder, file])
async def test_nothing_is_written_through_a_file_that_is_no_pipe(
    path: Path, driver: Any, elsewhere: Path, plant: Plant
) -> None:
    planted = path.with_name("jobs.db-fifoq") / "wake-1-00000000"
    plant(planted, elsewhere)
    for _ in range(3):
        await driver.put(spec())
        await driver.succeed_all(*await driver.leases())
    assert {path.name for path in elsewhere.iterdir()} == {"file"}
    assert (elsewhere / "file").read_text() == "theirs"
    assert planted.is_dir() is (plant is folder)
    assert not planted.is_file()


async def test_pipes_are_made_and_removed_in_the_opened_folder(path: Path, url: str, elsewhere: Path) -> None:
    """The folder is moved, and a link put in its place, between its check and its use."""
    backend = SqliteBackend(url)
    opened = path.with_name("opened")
    await backend.open()
    own = path.with_name("jobs.db-fifoq")
    own.rename(opened)
    own.symlink_to(elsewhere)
    await backend.close()
    assert {path.name for path in elsewhere.iterdir()} == {"file"}
    assert not [name for name in os.listdir(opened) if name.startswith("wake-")]


# ---- the description of a store ----

VALUES: tuple[Any, ...] = (
    "x", "", "1", "9" * 1_000, "x" * 10**6, "\x00\n", b"", b"\x01", b"\xff" * 10**5, 1.5, -1.5, 1e300, None,
)  # fmt: skip
NUMBERS = (0, -1, -(2**63), 2**31, 2**62, 2**63 - 1)


async def test_each_wrong_number_of_a_schema_is_an_error_that_names_the_store(path: Path, url: str) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    await backend.close()
    found: list[Any] = []
    for value in (*VALUES, *NUMBERS):
        alter(path, "fifoq_store", "migration", value)
        try:
            await backend.open()
        except (BackendCorrupt, ConfigurationError) as error:
            found += [] if str(path) in str(error) and len(str(error)) < 1_000 else [(value, error)]
        else:
            await backend.close()
            found.append((value, "opened"))
    assert found == []


@pytest.mark.parametrize("value", [*VALUES, b"\xff\xfe"])
async def test_the_version_of_the_fifoq_that_made_it_is_quoted_if_it_is_one(path: Path, url: str, value: Any) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    await backend.close()
    alter(path, "fifoq_store", "migration", 99)
    alter(path, "fifoq_store", "made_by", value)
    with pytest.raises((BackendCorrupt, ConfigurationError)) as raised:
        await backend.open()
    assert len(str(raised.value)) < 1_000
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("damage", ["DELETE FROM fifoq_store", "DROP TABLE fifoq_store", "DROP TABLE fifoq_gates"])
async def test_a_store_without_its_own_tables_is_corrupt(path: Path, url: str, driver_of: Any, damage: str) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    await driver_of(backend).put(spec())
    await backend.close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)

    async def use() -> None:
        await backend.open()
        await driver_of(backend).put(spec())

    with pytest.raises(BackendCorrupt, match=str(path)):
        await use()
    await backend.close()


GATES = (
    "paused", "tat", "live", "running", "head", "valued", "used", "version", "now", "ahead", "counter", "fence",
    "purged", "scheduled", "waiting", "succeeded", "failed", "cancelled", "lead",
)  # fmt: skip
SETTINGS = ("limit", "value_limit", "capacity", "interval", "burst")


@pytest.mark.parametrize("value", ["x", b"\x01", 1.5])
async def test_each_wrong_number_of_a_queue_is_an_error_that_names_the_store(
    path: Path, url: str, driver_of: Any, value: Any
) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    await driver_of(backend).queue.configure([Declare("task", GateSettings(limit=5))])
    await driver_of(backend).put(spec())
    await backend.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        whole = connection.serialize()
    found: list[Any] = []
    for table, column in [*(("fifoq_gates", name) for name in GATES), *(("fifoq_settings", name) for name in SETTINGS)]:
        path.write_bytes(whole)
        alter(path, table, column, value)
        try:
            await backend.open()
            await driver_of(backend).put(spec())
        except (BackendError, ConfigurationError) as error:
            found += [] if str(path) in str(error) and isinstance(error, BackendCorrupt) else [(column, error)]
        else:
            found.append((column, "accepted"))
        await backend.close()
    assert found == []


def alter(path: Path, table: str, column: str, value: Any) -> None:
    """Write a value of any type, as a bug, a bad copy or another program may, whatever the schema allows."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name = ?", (table,))
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(f'UPDATE {table} SET "{column}" = ?', (value,))
