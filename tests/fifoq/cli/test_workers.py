"""`fifoq worker` in one process: the real program, on stores that processes share."""

import json
import os
import pty
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fifoq.worker.log import Event
from tests.fifoq.cli.conftest import FIFOQ, Start, shop_on


def enqueue(tasks: Any, task: str, *calls: tuple[Any, ...]) -> list[Any]:
    return tasks.enqueue_many_sync([tasks.tasks[task].bind(*call) for call in calls])


def states(tasks: Any, handles: list[Any]) -> set[str]:
    return {tasks.get_sync(each.id).state.value for each in handles}


def test_a_burst_works_until_no_job_is_left(start: Start, shop: Any, url: str) -> None:
    jobs = enqueue(shop, "add", *[("acme", n) for n in range(20)]) + enqueue(shop, "square", (7,))
    worker = start("worker", "shop", "--burst", FIFOQ_URL=url)
    assert worker.end() == 0, worker.text
    assert states(shop, jobs) == {"succeeded"}
    assert [line.split()[2] for line in worker.lines if line.startswith("add acme")] == [str(n) for n in range(20)]


def test_it_works_until_sigterm_and_shows_its_store_and_promises(start: Start, shop: Any, url: str) -> None:
    worker = start("worker", "shop:tasks", "--concurrency", "3", "--threads", "2", "--grace", "9", FIFOQ_URL=url)
    assert worker.line("fifoq 0.").endswith(": shop:tasks")
    assert worker.line("  store").endswith(url)
    assert worker.line("  jobs").split(None, 1)[1] == "3 at a time, 2 of them in threads; lease 3 s, grace 9 s"
    assert worker.line("    add ").split(None, 1)[1] == "in order per customer; at most 7 at a time"
    [job] = enqueue(shop, "add", ("acme", 1))
    worker.line("add acme 1")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert states(shop, [job]) == {"succeeded"}
    assert "works on" not in worker.text  # the banner has it
    assert "has stopped" in worker.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_jobs_are_released_at_the_end_of_the_grace(start: Start, sqlite: str, number: signal.Signals) -> None:
    shop = shop_on(sqlite)
    [job] = enqueue(shop, "pause", (600.0,))
    worker = start("worker", "shop", "--grace", "0.1", FIFOQ_URL=sqlite)
    worker.pids("pause", 1)
    worker.signal(number)
    assert worker.end() == 0
    assert states(shop, [job]) == {"waiting"}


def test_a_second_signal_ends_the_grace(start: Start, sqlite: str) -> None:
    shop = shop_on(sqlite)
    [job] = enqueue(shop, "pause", (600.0,))
    worker = start("worker", "shop", "--grace", "600", FIFOQ_URL=sqlite)
    worker.pids("pause", 1)
    worker.signal(signal.SIGINT)
    worker.line("stops: its jobs have 600 s")
    worker.signal(signal.SIGINT)
    assert worker.end() == 0
    assert states(shop, [job]) == {"waiting"}


def test_queue_restricts_it_to_some_queues(start: Start, sqlite: str) -> None:
    shop = shop_on(sqlite)
    left, done = enqueue(shop, "add", ("acme", 1)), enqueue(shop, "square", (2,))
    worker = start("worker", "shop", "--queue", "letters", "--burst", FIFOQ_URL=sqlite)
    assert worker.end() == 0
    assert (states(shop, left), states(shop, done)) == ({"waiting"}, {"succeeded"})
    unknown = start("worker", "shop", "--queue", "leters", FIFOQ_URL=sqlite)
    assert unknown.end() == 2
    assert unknown.text.startswith("fifoq: No task is in queue 'leters'; the queues that have tasks are: ")


def test_the_url_of_the_command_line_counts_more_than_that_of_the_code(start: Start, sqlite: str, folder: Path) -> None:
    (folder / "shop.py").write_text((folder / "shop.py").read_text().replace("Fifoq(", 'Fifoq("memory://", '))
    [job] = enqueue(shop := shop_on(sqlite), "add", ("acme", 1))
    for arguments in (("worker", "shop", "--url", sqlite), ("--url", sqlite, "worker", "shop")):
        worker = start(*arguments, "--burst", "--log", "json")
        assert worker.end() == 0
    assert states(shop, [job]) == {"succeeded"}


def test_a_worker_on_memory_warns_that_no_process_can_enqueue_there(start: Start) -> None:
    worker = start("worker", "shop", "--burst", "--quiet")
    assert worker.end() == 0
    [line] = worker.lines
    assert "memory:// lives in the memory of this process: no other process can enqueue there" in line


def test_the_log_as_json_has_one_object_a_line(start: Start, sqlite: str) -> None:
    shop = shop_on(sqlite)
    enqueue(shop, "add", ("acme", 1))
    worker = start("worker", "shop", "--burst", "--log", "json", FIFOQ_URL=sqlite)
    assert worker.end() == 0
    lines = [json.loads(line) for line in worker.lines if not line.startswith("add ")]
    [begun] = [line for line in lines if line.get("event") == Event.WORKER_STARTED]
    assert begun["store"].endswith("jobs.db")
    assert {"ts", "level", "logger", "msg", "pid", "worker", "queues"} <= begun.keys()
    assert lines[-1]["event"] == Event.WORKER_STOPPED


def test_probes(start: Start, sqlite: str, folder: Path) -> None:
    worker = start("worker", "shop", "--health", "127.0.0.1:0", "--health-file", "alive", FIFOQ_URL=sqlite)
    port = int(worker.line("Health is served at").split(":")[-1].split("/")[0])
    while not (folder / "alive").exists():
        assert worker.process.poll() is None
    assert get(port, "live")[0] == 200
    status, health = get(port, "ready")
    assert (status, health["ready"], health["why"]) == (200, True, None)
    assert get(port, "other")[0] == 404
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert not (folder / "alive").exists()
    taken = start("worker", "shop", "--health", "127.0.0.1:99999", FIFOQ_URL=sqlite)
    assert taken.end() == 2
    assert taken.text.startswith("fifoq: ")


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_lifespan_that_fails_ends_it_with_the_lines_of_the_app(start: Start, folder: Path) -> None:
    (folder / "app.py").write_text(
        "from contextlib import asynccontextmanager\nfrom fifoq import Fifoq\n@asynccontextmanager\n"
        "async def lifespan():\n    raise OSError('no disk')\n    yield\ntasks = Fifoq(lifespan=lifespan)\n"
    )
    worker = start("worker", "app")
    assert worker.end() == 1
    assert worker.lines[-1] == "fifoq: The app did not start: OSError: no disk"
    assert "app.py" in worker.text
    assert f"fifoq{os.sep}cli" not in worker.text


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_they_are_refused(
    folder: Path, sqlite: str, variables: dict[str, str], coloured: bool
) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.update({"FIFOQ_URL": sqlite, "TERM": "xterm", **variables})
        os.execv(sys.executable, [*FIFOQ, "worker", "shop", "--burst"])
    shown = b""
    try:
        while data := os.read(terminal, 65_536):
            shown += data
    except OSError:  # Linux: the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    assert (b"\033[1mfifoq 0." in shown) == coloured
    assert b"shop:tasks" in shown
