"""Each statement is a search by an index and never walks a backlog; each has a name, a comment and a use."""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files

import pytest

from fifoq_sqlite.statements import load, migrations, named_statements, rows, statements

NAMES = sorted(statements())
READS_ALL = {"audit_jobs", "audit_values", "lines_stuck", "values_recount"}
"""Statements that have to read a whole queue: for an audit, or after a damaged row was mended."""
IN_ORDER = {"timers_next", "jobs_oldest"}
"""Statements that take the first row of a whole queue, in the order of an index."""
FEW = ("fifoq_store", "fifoq_queues", "sqlite_master", "fifoq_gates", "g ", "s ", "fifoq_paused_keys", "fifoq_replies")
"""Tables without a backlog: a search of them by queue alone finds its tasks, its paused keys or its callers."""


@pytest.fixture
def store() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for _, script in migrations():
        connection.executescript(script)
    yield connection
    connection.close()


def plan(store: sqlite3.Connection, statement: str) -> list[str]:
    """Return the steps of a statement, as SQLite plans it."""
    numbers = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    parameters = [1] * (max(numbers) if numbers else statement.count("?"))
    return [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def walks(steps: list[str]) -> list[str]:
    """Return the steps that read more rows than an index search finds."""
    return [step for step in steps if _scans(step) or _searches_a_whole_queue(step) or "AUTOMATIC" in step]


def _scans(step: str) -> bool:
    if not step.startswith("SCAN ") or "VIRTUAL TABLE" in step or "CONSTANT ROW" in step:
        return False
    table = step.removeprefix("SCAN ")
    return not table.startswith(("(subquery", "listed", "both", *FEW))


def _searches_a_whole_queue(step: str) -> bool:
    table = step.removeprefix("SEARCH ")
    return step.startswith("SEARCH ") and not table.startswith(FEW) and step.endswith(("(queue=?)", "(gate=?)"))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in READS_ALL | IN_ORDER])
def test_a_statement_searches_and_never_walks(store: sqlite3.Connection, name: str) -> None:
    found = walks(plan(store, load(name)))
    if name in ("gate_head", "values_heads", "values_widen"):
        # These read the heads of a task's values in order, or all its values when an operator changes their limit.
        found = [step for step in found if "fifoq_values" not in step and not step.startswith("SEARCH v ")]
    assert found == []


@pytest.mark.parametrize("name", sorted(IN_ORDER))
def test_the_first_of_a_queue_is_taken_in_the_order_of_an_index(store: sqlite3.Connection, name: str) -> None:
    statement = load(name)
    steps = plan(store, statement)
    assert all("SCAN" not in step or "subquery" in step or "CONSTANT ROW" in step for step in steps), steps
    # Each search of a whole queue is limited to its first row before anything is sorted.
    assert len([step for step in steps if _searches_a_whole_queue(step)]) <= statement.count("LIMIT 1")
    assert sum("TEMP B-TREE" in step for step in steps) <= statement.count("LIMIT 1") - 1


@pytest.mark.parametrize(
    "name", ["jobs_ready", "timers_due", "jobs_purgeable", "jobs_find", "lines_heads", "values_heads"]
)
def test_the_first_rows_are_found_without_sorting(store: sqlite3.Connection, name: str) -> None:
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
def test_a_statement_begins_with_its_inputs_and_outputs(name: str) -> None:
    text = statements()[name]
    head = text.split(load(name)[:20])[0]
    assert head.startswith("-- ")
    assert ("Inputs:" in head) == ("?" in load(name))
    assert ("Outputs:" in head) == (load(name).startswith("SELECT") or "RETURNING" in load(name))


def test_each_name_stands_once() -> None:
    assert [name for name, count in Counter(name for name, _ in named_statements()).items() if count > 1] == []


def test_each_statement_is_used() -> None:
    modules = [file for file in files("fifoq_sqlite").iterdir() if file.name.endswith(".py")]
    used = {name for module in modules for name in re.findall(r'"(\w+)"', module.read_text("utf-8"))}
    assert {*NAMES} - used == set()


def test_each_file_begins_with_its_purpose() -> None:
    scripts = [file for file in files("fifoq_sqlite").joinpath("sql").iterdir() if file.name.endswith(".sql")]
    assert [script.name for script in scripts if not re.match(r"-- (?!name: )", script.read_text("utf-8"))] == []


def test_all_statements_that_return_records_return_the_same_columns() -> None:
    columns = {load(name).partition("\nFROM")[0] for name in ("jobs_get", "jobs_find", "unindexed_get")}
    assert len(columns) == 1


def test_a_statement_for_many_rows_repeats_the_one_row() -> None:
    assert rows("jobs_enter", 1) == load("jobs_enter")
    assert rows("jobs_enter", 3).count("(?, ?, ") == 3
    assert rows("jobs_enter", 3).endswith("ON CONFLICT (queue, id) WHERE queue IS NOT NULL DO NOTHING")


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
