"""Rows that were damaged column by column: the damage is that job's alone."""

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fifoq.testing import AsyncDriver, ManualClock
from fifoq_sqlite import SqliteBackend
from tests.damage import STAGES, Damage, broken_promises, groups

WRONG = ("text", b"\xff\x00", 1.5, -77, 2**60, None)
BAD_TEXT = "CAST(X'FF41' AS TEXT)"
UNUSED = {"job", "caller", "number", "kept"}
"""Columns that say nothing of an indexed job, or name it."""
OVERWRITTEN = {"queue", "state", "line", "ready"}
"""Columns that are set when a job is indexed."""
MET = {
    *("priority", "seq", "retain", "attempt", "crashes", "created_at", "payload", "meta", "expires", "delay"),
    *("in_line", "owner", "reason", "expires_at", "unique", "token"),
}
"""Columns of no index: their rows are found by the calls that read them."""


def columns() -> list[tuple[str, str, bool]]:
    """Return name, type and NOT NULL of all columns of a job."""
    script = Path(__file__).parents[2] / "backends/fifoq_sqlite/sql/migrations/0001_queues_gates_jobs.sql"
    with sqlite3.connect(":memory:") as connection:
        connection.executescript(script.read_text())
        return [(row[1], row[2], bool(row[3])) for row in connection.execute("PRAGMA table_info(fifoq_jobs)")]


def damages(path: Path) -> Iterator[Damage]:
    for name, kind, must_be in columns():
        if name in UNUSED:
            continue
        for content in WRONG:
            if (content is None and must_be) or (kind == "BLOB" and isinstance(content, bytes)):
                continue
            if kind == "TEXT" and not isinstance(content, bytes | None):
                continue  # SQLite makes a text of it
            # A number may be right, and a column may be empty. A job whose id is damaged gets another.
            shows = not isinstance(content, int | None) and name != "id"
            yield Damage(f"{name} = {content!r}", partial(change, path, name, content), shows)
        if kind == "TEXT":
            yield Damage(f"{name} is no UTF-8", partial(change, path, name, None, BAD_TEXT), name != "id")


def change(path: Path, name: str, content: object, value: str = "?", id: str = "") -> None:
    connection = sqlite3.connect(path, timeout=30)
    parameters = [content, id] if value == "?" else [id]
    connection.execute(f'UPDATE fifoq_jobs SET "{name}" = {value} WHERE id = ?', parameters)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("stage", [*STAGES, "unindexed"])
async def test_a_damaged_row_is_the_trouble_of_its_job_alone(path: Path, stage: str) -> None:
    hidden = OVERWRITTEN if stage == "unindexed" else set[str]()
    damage = (each._replace(shows=each.shows and column(each) not in hidden) for each in damages(path))
    await endure(path, stage, damage, maintained=True)


@pytest.mark.parametrize("stage", ["keyed", "running", "backing off", "unindexed"])
async def test_damage_outside_of_the_indexes_needs_no_maintenance(path: Path, stage: str) -> None:
    await endure(path, stage, (each for each in damages(path) if column(each) in MET), maintained=False)


def column(damage: Damage) -> str:
    return damage.name.split()[0]


async def endure(path: Path, stage: str, damage: Iterator[Damage], *, maintained: bool) -> None:
    clock = ManualClock()
    backend = SqliteBackend(f"sqlite:///{path}?synchronous=normal", clock=clock)
    await backend.open()
    broken: list[str] = []
    for number, group in enumerate(groups(damage)):
        bound = [each._replace(change=lambda id, each=each: each.change(id=id)) for each in group]
        driver = AsyncDriver(backend.queue(f"q{number}"))
        broken += await broken_promises(driver, clock, stage, bound, maintained=maintained)
    await backend.close()
    assert not broken, "\n".join(broken)
