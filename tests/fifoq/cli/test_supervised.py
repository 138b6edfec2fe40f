"""A supervised worker process: it ends with its supervisor, however that ends and whatever its tasks do."""

import signal
import sys
from pathlib import Path

import pytest

from fifoq.cli import supervisor
from fifoq.cli.options import WorkerOptions
from tests.fifoq.cli.conftest import Start, lives, shop_on
from tests.fifoq.cli.test_workers import enqueue


@pytest.mark.parametrize("task", ["pause", "block"])
def test_no_process_outlives_a_killed_supervisor(start: Start, sqlite: str, task: str) -> None:
    enqueue(shop_on(sqlite), task, (600.0,), (600.0,))
    worker = start("worker", "shop", "--processes", "2", "--concurrency", "1", "--grace", "0.5", FIFOQ_URL=sqlite)
    found = worker.pids(task, 2)
    worker.signal(signal.SIGKILL)
    worker.end()  # the end of the output, which all processes have
    assert not any(map(lives, found))


def test_a_task_that_holds_up_the_loop_ends_with_the_supervisor(start: Start, sqlite: str, folder: Path) -> None:
    text = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text(text.replace("def block", "async def block"))
    enqueue(shop_on(sqlite), "block", (600.0,))
    worker = start("worker", "shop", "--processes", "2", "--grace", "0.2", FIFOQ_URL=sqlite)
    [pid] = worker.pids("block", 1)
    worker.signal(signal.SIGKILL)
    worker.end()
    assert not lives(pid)


def test_a_task_that_holds_up_the_loop_is_killed_at_the_end_of_the_grace(
    start: Start, sqlite: str, folder: Path
) -> None:
    text = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text(text.replace("def block", "async def block"))
    enqueue(shop_on(sqlite), "block", (600.0,))
    worker = start("worker", "shop", "--processes", "2", "--grace", "0.2", FIFOQ_URL=sqlite)
    [pid] = worker.pids("block", 1)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert f"Worker process {pid} did not end within its grace. It is killed." in worker.text


def test_the_options_reach_the_process_by_the_lifeline_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the command line nor the environment shows a password."""
    program = (
        "import os, sys, json; o = json.loads(sys.stdin.readline()); "
        "print(o['url'], 'secret' in str(os.environ) + str(sys.argv)); "
        'os.write(int(sys.argv[1]), b\'{"word": "done"}\\n\')'
    )
    monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(supervisor, "configure", lambda *_, **__: None)
    options = WorkerOptions(app="shop", url="redis://:secret@host/0", processes=1, burst=True)
    assert supervisor.supervise(options) == 0
    assert capfd.readouterr().out == "redis://:secret@host/0 False\n"
