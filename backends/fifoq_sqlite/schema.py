"""
The schema of the store's file, made and upgraded by numbered migrations; and checks of SQLite's version and the file.

Migrations are appended and never changed. Each runs once, under the write lock.
"""

import sqlite3
import stat
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fifoq.errors import ConfigurationError
from fifoq_sqlite.statements import load, migrations

OLDEST_SQLITE = (3, 38, 0)
"""The first version with RETURNING, UPDATE FROM and `->>`."""
SAFE_SQLITE = (3, 51, 3)
"""The first version in which two connections that commit and checkpoint at once cannot corrupt a file."""


# ---- migrations ----


def migrate(connection: sqlite3.Connection) -> None:
    """Make the schema, or upgrade it to this version's. Called within a write transaction."""
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
        connection.execute(load("store_make"), (newest, _this_version()))
    elif stored < newest:
        connection.execute(load("store_migrate"), (newest, _this_version()))


def check_migration(stored: int, made_by: str) -> None:
    """Raise ConfigurationError if a newer fifoq than this one migrated the store."""
    newest = len(migrations())
    if stored > newest:
        raise ConfigurationError(
            f"The store has schema {stored}, made by fifoq {made_by}; this is fifoq {_this_version()}, which supports "
            f"schemas up to {newest}. Upgrade fifoq here."
        )


def _this_version() -> str:
    try:
        return version("fifoq")
    except PackageNotFoundError:
        return "of this source tree"


def _statements(script: str) -> list[str]:
    """Return the single statements of a script: `executescript` would commit before the first."""
    found, part = list[str](), ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return found


# ---- checks of SQLite's version and of the file ----


def check_library() -> None:
    """Raise ConfigurationError if this Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise ConfigurationError(
            f"fifoq needs SQLite {wanted} or newer; this Python has {sqlite3.sqlite_version}. "
            "Use a Python that was built with a newer one."
        )


def advice(path: Path) -> tuple[str, ...]:
    """Return sentences of advice about SQLite's version and the permissions of the file and its folder."""
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
        found.append(f"Every user may write to {path.parent}, and so replace the store.")
    return found
