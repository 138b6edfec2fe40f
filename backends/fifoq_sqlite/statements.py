"""The SQL statements, loaded by name from the files of `sql/`. Their text is constant; data travels as parameters."""

import re
from functools import cache
from importlib.resources import files

_SQL = files("fifoq_sqlite").joinpath("sql")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_ROW = re.compile(r"VALUES\s*(\(.*\))\s*(ON CONFLICT.*)?$", re.DOTALL)


@cache
def statements() -> dict[str, str]:
    """
    Return all statements by name, with their comments.

    Each file of `sql/` has the statements of one topic, each below its line `-- name:`.
    """
    return dict(named_statements())


def named_statements() -> list[tuple[str, str]]:
    """Return (name, statement) of all statements, in the order of the files."""
    scripts = sorted((file for file in _SQL.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    found: list[tuple[str, str]] = []
    for script in scripts:
        _, *parts = _NAME.split(script.read_text("utf-8"))
        found += zip(parts[::2], parts[1::2], strict=True)
    return found


@cache
def load(name: str) -> str:
    """Return the statement of that name, without its comments."""
    return _COMMENT.sub("", statements()[name]).strip().rstrip(";")


@cache
def rows(name: str, count: int) -> str:
    """
    Return the statement `name`, which inserts one row, for `count` rows.

    SQLite inserts all of them in one step. The interpreter's lock is released at each step, and a thread that runs
    Python code gives it back up to 5 ms later, so a hundred steps beside a busy event loop could take half a second.
    """
    statement = load(name)
    row = _ROW.search(statement)
    assert row is not None, f"{name} inserts no row"
    return f"{statement[: row.start(1)]}{', '.join([row[1]] * count)}{statement[row.end(1) :]}"


def migrations() -> tuple[tuple[int, str], ...]:
    """Return (number, script) of each migration, in order."""
    scripts = sorted(_SQL.joinpath("migrations").iterdir(), key=lambda script: script.name)
    return tuple((int(script.name[:4]), script.read_text("utf-8")) for script in scripts if script.name[:4].isdigit())
