"""
The schema of the store's file, made and upgraded by numbered migrations; and checks of SQLite's version and the file.

Migrations are appended and never changed. Each runs once, under the write lock.
"""

import sqlite3
import stat
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fifoq.errors import BackendCorrupt, ConfigurationError
from fifoq_sqlite.errors import corrupt
from fifoq_sqlite.statements import load, migrations

OLDEST_SQLITE = (3, 38, 0)
"""The first version with RETURNING, UPDATE FROM and `->>`."""
SAFE_SQLITE = (3, 51, 3)
"""The first version in which two connections that commit and checkpoint at once cannot corrupt a file."""
_LONGEST = 64
"""Characters of a version of fifoq at most, to be shown."""
_NUMBERS = {int, type(None)}


# ---- migrations ----


def migrate(connection: sqlite3.Connection) -> None:
    """Make the schema, or upgrade it to this version's. Called within a write transaction."""
    stored = 0
    if connection.execute(load("store_exists")).fetchone():
        stored = read_migration(connection)
    for number, script in migrations():
        if number > stored:
            for statement in _statements(script):
                connection.execute(statement)
    newest = len(migrations())
    if stored == 0:
        connection.execute(load("store_make"), (newest, _this_version()))
    elif stored < newest:
        connection.execute(load("store_migrate"), (newest, _this_version()))


def read_migration(connection: sqlite3.Connection) -> int:
    """
    Return the number of the store's last migration.

    Raises ConfigurationError if a newer fifoq than this one made it, BackendCorrupt if it is no such number.
    """
    row = connection.execute(load("store_read")).fetchone()
    stored, made_by = row or (None, None)
    if type(stored) is not int or stored < 1:
        raise damaged(connection, f"the number of its schema is {_shown(stored)}")
    newest = len(migrations())
    if stored > newest:
        maker = made_by if type(made_by) is str and made_by.isprintable() and len(made_by) <= _LONGEST else None
        raise ConfigurationError(
            f"{_path(connection)} has schema {stored}, made by fifoq {maker or 'of an unknown version'}; this is fifoq "
            f"{_this_version()}, which supports schemas up to {newest}. Upgrade fifoq here."
        )
    return stored


def are_numbers(values: Iterable[object]) -> bool:
    """Return whether all of these are numbers as fifoq stores them, or missing."""
    return _NUMBERS.issuperset(map(type, values))


def damaged(connection: sqlite3.Connection, cause: str) -> BackendCorrupt:
    """Return the error for a store that does not describe itself as one."""
    return corrupt(_path(connection), cause)


def _path(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])


def _shown(value: object) -> str:
    """Return a value of any type and size in a few words."""
    if value is None:
        return "missing"
    if isinstance(value, int | float):
        return f"{value}"
    size = len(value) if isinstance(value, str | bytes) else 0
    return f"a {'text' if isinstance(value, str) else 'blob'} of length {size}"


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
