"""The log of a worker says what the store has: one line an event, with its level, its fields and its traceback."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fifoq import Fifoq
from fifoq.calls import Caller
from fifoq.errors import GiveUp, RetryAfter
from fifoq.record import State, Succeed
from fifoq.retry import Retry
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from fifoq.worker.log import Event

FIELDS = {"event", "worker", "queue", "task", "job", "key", "attempt", "seconds"}
OF_ERRORS = {"error", "error_message", "traceback"}
LEVELS = {
    Event.WORKER_STARTED: logging.INFO,
    Event.TASK_SERVED: logging.INFO,
    Event.WORKER_STOPPING: logging.INFO,
    Event.WORKER_STOPPED: logging.INFO,
    Event.WORKER_WAITS: logging.WARNING,
    Event.JOB_STARTED: logging.DEBUG,
    Event.JOB_SUCCEEDED: logging.INFO,
    Event.JOB_RETRIED: logging.INFO,
    Event.JOB_FAILED: logging.WARNING,
    Event.JOB_CANCELLED: logging.INFO,
    Event.JOB_RELEASED: logging.INFO,
    Event.JOB_LOST: logging.WARNING,
}
ONCE = Retry(1)


class Odd(Exception):
    """Its text has line breaks, is long, and looks like a line of a log."""

    def __str__(self) -> str:
        return "odd\nCRITICAL: forged\n" + "x" * 10_000


def end(how: str) -> Any:
    """End in that way, wherever it runs."""
    match how:
        case "returns":
            return 1
        case "raises":
            raise FileNotFoundError("gone")
        case "raises oddly":
            raise Odd
        case "gives up":
            raise GiveUp("no use")
        case "asks to wait":
            raise RetryAfter(0.0)
        case "exits":
            sys.exit(3)
        case "cannot send":
            return object()
        case "dies":
            os._exit(7)
        case _:
            return time.sleep(float(how))


async def end_async(how: str) -> Any:
    if how.isdecimal():
        await asyncio.sleep(float(how))
    return end(how)


ENDS = ["returns", "raises", "raises oddly", "gives up", "asks to wait", "exits", "cannot send"]
PLACES: dict[str, tuple[Callable[[str], Any], list[str], str]] = {
    "loop": (end_async, ENDS, "3600"),
    "thread": (end, ENDS, "0.2"),
    "process": (end, [*ENDS, "dies"], "3600"),
}


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fifoq")


def lines(caplog: pytest.LogCaptureFixture, id: str | None = None) -> list[Any]:
    """The lines of events, those of one job or all."""
    records = [
        record for record in caplog.records if record.name.startswith("fifoq.worker") and hasattr(record, "event")
    ]
    return records if id is None else [record for record in records if record.job == id]


def check_line(line: Any, place: str, job: Any) -> None:
    """Its level and fields are complete, and those of the job; a line of an error has the stored one."""
    assert vars(line).keys() >= FIELDS
    assert (line.queue, line.task, line.job, line.key) == (job.queue, job.task, job.id, job.key)
    assert "\n" not in line.getMessage()
    assert f"key {job.key!r}" in line.getMessage()
    if line.event is not Event.JOB_STARTED:
        assert 0.0 <= line.seconds < 3600
    assert line.levelno == LEVELS[line.event]
    if line.event not in (Event.JOB_FAILED, Event.JOB_RETRIED):
        return
    if line.attempt == job.attempt:
        assert (line.error, line.error_message, line.traceback) == (
            job.error.type,
            job.error.message,
            job.error.traceback or "",
        )
    assert f"attempt {line.attempt}: {line.error}: " in line.getMessage()
    if line.event is Event.JOB_FAILED and line.traceback:
        assert logging.Formatter().format(line).endswith("\n" + line.traceback.rstrip("\n"))
        assert (line.exc_info is None) == (
            place == "process" and line.error not in ("GiveUp", "RetryAfter", "TimeoutError")
        )
        if line.exc_info:
            assert line.exc_info[0].__name__ == line.error


@pytest.mark.parametrize("place", PLACES)
async def test_each_line_says_what_the_store_has(shop: Any, caplog: pytest.LogCaptureFixture, place: str) -> None:
    function, ways, long = PLACES[place]
    task = shop.task(function, name="task", run_in=place, retry=Retry(2, backoff=0.0))
    late = shop.task(function, name="late", run_in=place, retry=Retry(2, backoff=0.0), timeout=0.1)
    ids = [await shop.put(task, how, key=f"key of {how}") for how in ways]
    ids.append(await shop.put(late, long, key="late"))
    worker = shop.worker()
    await worker.drain()
    for id in ids:
        job = await shop.job(id)
        seen = lines(caplog, id)
        for line in seen:
            check_line(line, place, job)
            assert line.worker == worker.name
        last = Event.JOB_SUCCEEDED if job.state is State.SUCCEEDED else Event.JOB_FAILED
        retried = [Event.JOB_STARTED, Event.JOB_RETRIED] * (job.attempt - 1)
        assert [line.event for line in seen] == [*retried, Event.JOB_STARTED, last]
    assert {line.error for line in lines(caplog) if line.event is Event.JOB_FAILED} >= {
        "TimeoutError",
        "FileNotFoundError",
    }
    starts = lines(caplog)
    assert (starts[0].event, starts[-1].event) == (Event.WORKER_STARTED, Event.WORKER_STOPPED)
    assert all(vars(line).keys() >= FIELDS for line in starts)


async def test_a_cancelled_job_is_logged_as_the_store_has_it_even_if_its_function_failed(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        begun.set()
        await go_on.wait()
        raise ValueError("a retry, were it not cancelled")

    id = await shop.put(shop.task(fail), key="k")
    async with shop.worker(lease=600.0):
        await begun.wait()
        await shop.backend.queue("default").cancel([id], "an operator's reason")
        go_on.set()
        job = await shop.ended(id)
    assert job.state is State.CANCELLED
    assert [line.event for line in lines(caplog, id)] == [Event.JOB_STARTED, Event.JOB_CANCELLED]
    for line in lines(caplog, id):
        check_line(line, "loop", job)


async def test_a_job_whose_crash_budget_is_spent(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    task = shop.task(end_async, max_crashes=1)
    id = await shop.put(task, "returns", key="k")
    await shop.backend.queue("default").claim(Caller().begin(), "killed", 1, 1, frozenset([task.name]))
    async with shop.worker():
        job = await shop.ended(id)
    assert job.error.type == "TooManyCrashes"
    (line,) = lines(caplog, id)
    check_line(line, "loop", job)


async def test_released_lost_and_unstorable_outcomes(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Refuses(WrappedQueue):
        async def settle(self, call: Any, settlements: Sequence[Any]) -> Any:
            if any(each.id == "unstorable" and isinstance(each.outcome, Succeed) for each in settlements):
                raise ValueError("no such value")
            states = await self._queue.settle(call, settlements)
            return [None if one.id == "lost" else state for one, state in zip(settlements, states, strict=True)]

    task = shop.task(end_async)
    for id in ("lost", "unstorable"):
        await shop.put(task, "returns", id=id, key=id)
    await shop.put(task, "3600", id="released", key="released")
    async with shop.worker(backend=WrappedBackend(shop.backend, Refuses), grace=0.0):
        unstorable = await shop.ended("unstorable")
        await shop.until(lambda: len(lines(caplog, "lost")) == 2)
    assert lines(caplog, "lost")[-1].event is Event.JOB_LOST
    assert lines(caplog, "released")[-1].event is Event.JOB_RELEASED
    (failed,) = lines(caplog, "unstorable")[1:]
    check_line(failed, "process", unstorable)
    assert failed.error == "OutcomeNotStorable"
    for id in ("lost", "released"):
        check_line(lines(caplog, id)[-1], "loop", await shop.job(id))


async def test_a_handler_that_raises_costs_no_job_its_outcome(shop: Any) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("a bug of the handler's")

    broken, log = Broken(), logging.getLogger("fifoq.worker")
    ids = [await shop.put(shop.task(end_async, retry=ONCE), how, id=how) for how in ("raises", "returns")]
    async with shop.worker():
        log.addHandler(broken)
        try:
            states = [(await shop.ended(id)).state for id in ids]
        finally:
            log.removeHandler(broken)
    assert states == [State.FAILED, State.SUCCEEDED]


async def test_a_halted_key_is_named(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    id = await shop.put(shop.task(end_async, retry=ONCE, halt=True), "raises", key="k")
    async with shop.worker():
        await shop.ended(id)
    assert "Its key stays closed" in lines(caplog, id)[-1].getMessage()


# ---- the store of a worker ----


def begun(caplog: pytest.LogCaptureFixture) -> Any:
    return next(line for line in lines(caplog) if line.event is Event.WORKER_STARTED)


async def test_a_worker_names_its_store(caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = Fifoq("sqlite:///rel.db?synchronous=normal")
    tasks.task(end_async)
    async with tasks.worker():
        monkeypatch.chdir("/")
    assert begun(caplog).store == f"sqlite:///{tmp_path}/rel.db?synchronous=normal"
    assert begun(caplog).store in begun(caplog).getMessage()
    assert begun(caplog).queues == ["default"]


@pytest.mark.parametrize("url", ["memory://", "memory://named", "sqlite"])
@pytest.mark.parametrize("alone", [True, False])
async def test_a_worker_that_can_never_get_a_job_warns(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, url: str, alone: bool
) -> None:
    tasks = Fifoq(f"sqlite:///{tmp_path}/jobs.db" if url == "sqlite" else url)
    tasks.task(end_async)

    async def work() -> None:
        running = asyncio.create_task(tasks.worker().run())
        async with asyncio.timeout(10):
            while not lines(caplog):  # noqa: ASYNC110 - a line has no event
                await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])

    if alone:
        await work()
    else:
        async with tasks:
            await work()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (alone and url != "sqlite")
    assert all(url in text and "FIFOQ_URL" in text for text in warnings)


async def test_an_embedded_worker_and_a_drain_do_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Fifoq("memory://")
    tasks.task(end_async)
    async with tasks.worker():
        pass
    await tasks.worker().drain()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_page_about_logging_lists_each_event_with_its_level() -> None:
    page = Path(__file__).parents[3] / "docs" / "logging.md"
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| `")]
    listed = {row[0].strip("| `"): row[1] for row in rows}
    for event in Event:
        assert listed[event].startswith(logging.getLevelName(LEVELS[event])), event
    named = " ".join(listed)
    assert all(field in named for field in FIELDS | OF_ERRORS)
