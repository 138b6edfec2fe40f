"""The SQL, read from its files. Its text is constant; data travels as parameters."""

import re
from functools import cache
from importlib.resources import files

_ROOT = files("fifoq_sqlite").joinpath("sql")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_ROW = re.compile(r"VALUES\s*(\(.*\))\s*(ON CONFLICT.*)?$", re.DOTALL)


@cache
def statements() -> dict[str, str]:
    """All statements by name: each file of `sql/` holds those of one topic, each below its line `-- name:`."""
    files = sorted((file for file in _ROOT.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    found: dict[str, str] = {}
    for file in files:
        _, *parts = _NAME.split(file.read_text("utf-8"))
        found |= zip(parts[::2], parts[1::2], strict=True)
    return found


@cache
def load(name: str) -> str:
    """Return the statement of that name, without its comments."""
    return _COMMENT.sub("", statements()[name]).strip().rstrip(";")


@cache
def rows(name: str, count: int) -> str:
    """
    Return the statement `name`, which inserts one row, for `count` rows.

    One step of SQLite takes all of them. The interpreter's lock is let go at each step, and a thread that is busy with
    Python gives it back up to 5 ms later, so a hundred steps beside a busy event loop could take half a second.
    """
    statement = load(name)
    row = _ROW.search(statement)
    assert row is not None, f"{name} inserts no row"
    return f"{statement[: row.start(1)]}{', '.join([row[1]] * count)}{statement[row.end(1) :]}"


def migrations() -> tuple[tuple[int, str], ...]:
    """Return (number, script) of each migration, in order."""
    scripts = sorted(_ROOT.joinpath("migrations").iterdir(), key=lambda script: script.name)
    return tuple((int(script.name[:4]), script.read_text("utf-8")) for script in scripts if script.name[:4].isdigit())
