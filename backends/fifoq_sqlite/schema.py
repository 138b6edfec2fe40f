"""The schema of the file: numbered migrations, appended to and never changed, each run once under the write lock."""

import sqlite3
import stat
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fifoq.errors import ConfigurationError
from fifoq_sqlite.statements import load, migrations

SAFE_SQLITE = (3, 51, 3)
"""The first without the fault that two connections could corrupt a file by committing and checkpointing at once."""


def advice(path: Path) -> tuple[str, ...]:
    return (*_library(), *_files(path))


def _library() -> list[str]:
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        return []
    return [
        f"SQLite {sqlite3.sqlite_version} can corrupt a file when two connections commit and checkpoint at once "
        "(fixed in 3.51.3). fifoq never lets them: it holds a lock around both. Other programs that write to this "
        "file would have to do the same, so let only fifoq write to it."
    ]


def _files(path: Path) -> list[str]:
    found: list[str] = []
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(f"{path} is open to others than its owner; fifoq makes it 0600.")
    if path.parent.stat().st_mode & stat.S_IWOTH and not path.parent.stat().st_mode & stat.S_ISVTX:
        found.append(f"Anybody may write to {path.parent}, and so replace the store.")
    return found


OLDEST_SQLITE = (3, 38, 0)
"""The first with RETURNING, UPDATE FROM and `->>`."""


def check_library() -> None:
    """Raise ConfigurationError if this Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise ConfigurationError(
            f"fifoq needs SQLite {wanted} or newer; this Python has {sqlite3.sqlite_version}. "
            "Use a Python that was built with a newer one."
        )


def check_migration(stored: int, made_by: str) -> None:
    """Raise ConfigurationError if the store was brought up to date by a newer fifoq than this one."""
    newest = len(migrations())
    if stored > newest:
        raise ConfigurationError(
            f"The store has schema {stored}, made by fifoq {made_by}; this is fifoq {this_version()}, which knows "
            f"schemas up to {newest}. Upgrade fifoq here."
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the store to this version's schema, or make it. Called within a write transaction."""
    stored = 0
    if connection.execute(load("store_exists")).fetchone():
        stored, made_by = connection.execute(load("store_read")).fetchone()
        check_migration(stored, made_by)
    for number, script in migrations():
        if number > stored:
            for statement in _statements(script):
                connection.execute(statement)
    newest = len(migrations())
    if stored == 0:
        connection.execute(load("store_make"), (newest, this_version()))
    elif stored < newest:
        connection.execute(load("store_migrate"), (newest, this_version()))


def this_version() -> str:
    try:
        return version("fifoq")
    except PackageNotFoundError:
        return "of this source tree"


def _statements(script: str) -> list[str]:
    """The single statements of a script: `executescript` would commit before the first."""
    found, part = list[str](), ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return found
