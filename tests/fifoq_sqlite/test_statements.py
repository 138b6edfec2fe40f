"""No statement walks a backlog: each is a search that an index leads, whatever it is asked."""

import re
import sqlite3
from collections.abc import Iterator

import pytest

from fifoq_sqlite.statements import load, migrations, rows, statements

NAMES = sorted(statements())
LOOKS_AT_ALL = {"audit_jobs", "audit_values"}
"""They are to look at everything of a queue."""
IN_ORDER = {"timers_next", "jobs_oldest"}
"""They take the first one of a whole queue, in the order of an index."""
FEW = ("fifoq_store", "fifoq_queues", "sqlite_master", "fifoq_gates", "g ", "s ", "fifoq_paused_keys", "fifoq_replies")
"""Tables without a backlog: searched by queue alone they give its tasks, its paused keys, its callers."""


@pytest.fixture
def store() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for _, script in migrations():
        connection.executescript(script)
    yield connection
    connection.close()


def plan(store: sqlite3.Connection, statement: str) -> list[str]:
    """The steps of a statement, as SQLite plans it."""
    numbers = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    parameters = [1] * (max(numbers) if numbers else statement.count("?"))
    return [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def walks(steps: list[str]) -> list[str]:
    """The steps that look at more than an index leads to."""
    return [step for step in steps if _scans(step) or _searches_a_whole_queue(step) or "AUTOMATIC" in step]


def _scans(step: str) -> bool:
    if not step.startswith("SCAN ") or "VIRTUAL TABLE" in step or "CONSTANT ROW" in step:
        return False
    what = step.removeprefix("SCAN ")
    return not what.startswith(("(subquery", "listed", "both", *FEW))


def _searches_a_whole_queue(step: str) -> bool:
    what = step.removeprefix("SEARCH ")
    return step.startswith("SEARCH ") and not what.startswith(FEW) and step.endswith(("(queue=?)", "(gate=?)"))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LOOKS_AT_ALL | IN_ORDER])
def test_a_statement_searches_and_never_walks(store: sqlite3.Connection, name: str) -> None:
    found = walks(plan(store, load(name)))
    if name in ("gate_head", "values_heads", "values_widen"):
        # The heads of a task's values, in order; and all its values, when an operator changes how many may run.
        found = [step for step in found if "fifoq_values" not in step and not step.startswith("SEARCH v ")]
    assert found == []


@pytest.mark.parametrize("name", sorted(IN_ORDER))
def test_the_first_of_a_queue_is_taken_in_the_order_of_an_index(store: sqlite3.Connection, name: str) -> None:
    statement = load(name)
    steps = plan(store, statement)
    assert all("SCAN" not in step or "subquery" in step for step in steps), steps
    # Each search of a whole queue is limited to its first row before anything is sorted.
    assert len([step for step in steps if _searches_a_whole_queue(step)]) <= statement.count("LIMIT 1")
    assert sum("TEMP B-TREE" in step for step in steps) <= statement.count("LIMIT 1") - 1


@pytest.mark.parametrize(
    "name", ["jobs_ready", "timers_due", "jobs_purgeable", "jobs_find", "lines_heads", "values_heads"]
)
def test_what_comes_first_is_found_without_sorting(store: sqlite3.Connection, name: str) -> None:
    assert [step for step in plan(store, load(name)) if "ORDER BY" in step] == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT job FROM fifoq_jobs WHERE reason = ?1",
        "SELECT job FROM fifoq_jobs WHERE queue = ?1 AND reason = ?2",
        "SELECT job FROM fifoq_jobs WHERE queue = ?1 AND state = 2 AND key = ?2",
        "SELECT j.job FROM fifoq_jobs AS j WHERE NOT EXISTS (SELECT 1 FROM fifoq_jobs AS o WHERE o.key = j.key)",
        "UPDATE fifoq_jobs SET ready = NULL WHERE queue = ?1 AND key = ?2",
    ],
)
def test_a_walk_is_seen(store: sqlite3.Connection, statement: str) -> None:
    assert walks(plan(store, statement))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_opens_with_what_goes_in_and_comes_out(name: str) -> None:
    text = statements()[name]
    head = text.split(load(name)[:20])[0]
    assert head.startswith("-- ")
    assert ("Inputs:" in head) == ("?" in load(name))
    assert ("Outputs:" in head) == (load(name).startswith("SELECT") or "RETURNING" in load(name))


def test_a_statement_for_many_rows_repeats_the_one_row() -> None:
    assert rows("jobs_enter", 1) == load("jobs_enter")
    assert rows("jobs_enter", 3).count("(?, ?, ") == 3
    assert rows("jobs_enter", 3).endswith("ON CONFLICT (queue, id) WHERE queue IS NOT NULL DO NOTHING")


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
