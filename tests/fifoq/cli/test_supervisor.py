"""`fifoq worker --processes`: the real supervisor and its processes, with real signals."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fifoq import Fifoq
from fifoq.cli import supervisor
from fifoq.cli.options import WorkerOptions
from tests.fifoq.cli.conftest import FIFOQ, Program, Start, lives, shop_on
from tests.fifoq.cli.test_workers import enqueue, get, states


def test_several_processes_share_the_jobs_and_end_by_one_signal(start: Start, shop: Any, url: str) -> None:
    worker = start("worker", "shop", "--processes", "3", "--concurrency", "1", FIFOQ_URL=url)
    assert worker.line("  jobs").split(None, 1)[1].startswith("3 processes × 1 at a time")
    jobs = enqueue(shop, "pause", *[(0.3,) for _ in range(12)])
    found = worker.pids("pause", 3)
    assert worker.process.pid not in found
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert worker.text.count("fifoq 0.") == 1
    assert worker.text.count("has stopped") == 3
    assert states(shop, jobs) <= {"succeeded", "waiting"}
    assert not any(map(lives, found))


def test_a_signal_that_reaches_all_processes_at_once_leaves_jobs_their_grace(start: Start, sqlite: str) -> None:
    """A service manager may send it to each process of a service."""
    shop = shop_on(sqlite)
    jobs = enqueue(shop, "pause", (3.0,), (3.0,))
    worker = start("worker", "shop", "--processes", "2", "--concurrency", "1", "--grace", "60", FIFOQ_URL=sqlite)
    for pid in worker.pids("pause", 2):
        os.kill(pid, signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert states(shop, jobs) == {"succeeded"}


def test_a_second_signal_ends_the_grace_of_all_processes(start: Start, sqlite: str) -> None:
    shop = shop_on(sqlite)
    jobs = enqueue(shop, "pause", (600.0,), (600.0,))
    worker = start("worker", "shop", "--processes", "2", "--concurrency", "1", "--grace", "600", FIFOQ_URL=sqlite)
    worker.pids("pause", 2)
    worker.signal(signal.SIGTERM)
    worker.line("stops: its jobs have 600 s")
    worker.line("stops: its jobs have 600 s")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert states(shop, jobs) == {"waiting"}


def test_a_burst_ends_when_all_processes_have_drained_the_queues(start: Start, shop: Any, url: str) -> None:
    jobs = enqueue(shop, "add", *[("acme", n) for n in range(20)])
    worker = start("worker", "shop", "--processes", "2", "--burst", FIFOQ_URL=url)
    assert worker.end() == 0
    assert states(shop, jobs) == {"succeeded"}


def test_a_killed_process_is_replaced_and_its_job_runs_again(start: Start, shop: Any, url: str) -> None:
    [job] = enqueue(shop, "pause", (600.0,))
    worker = start("worker", "shop", "--processes", "2", "--grace", "0.1", FIFOQ_URL=url)
    [first] = worker.pids("pause", 1)
    os.kill(first, signal.SIGKILL)
    assert "was killed by SIGKILL. Another starts in 0.5 s" in worker.line("was killed")
    [second] = worker.pids("pause", 1)
    assert second != first
    os.kill(second, signal.SIGKILL)
    worker.line("was killed")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert shop.get_sync(job.id).crashes >= 1


def test_sighup_replaces_one_process_after_another_and_loses_nothing(start: Start, shop: Any, url: str) -> None:
    worker = start("worker", "shop", "--processes", "2", "--concurrency", "1", "--grace", "30", FIFOQ_URL=url)
    jobs = enqueue(shop, "pause", *[(0.2,) for _ in range(8)])
    before = worker.pids("pause", 2)
    worker.signal(signal.SIGHUP)
    worker.line("All worker processes are replaced.")
    jobs += enqueue(shop, "pause", *[(0.2,) for _ in range(8)])
    after = worker.pids("pause", 2)
    assert not any(map(lives, before))
    for job in jobs:
        job.result_sync(60)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert len(after) == 2
    assert all(shop.get_sync(job.id).crashes == 0 for job in jobs)


def test_a_mistake_of_the_first_start_is_said_once_and_ends_all(start: Start, folder: Path, sqlite: str) -> None:
    (folder / "broken.py").write_text("def f():\n    1 / 0\nf()\n")
    worker = start("worker", "broken", "--processes", "3", FIFOQ_URL=sqlite)
    assert worker.end() == 2
    assert worker.text.count("Traceback") == 1
    assert worker.lines[-1] == "fifoq: broken cannot be imported: ZeroDivisionError: division by zero"
    down = start("worker", "shop", "--processes", "2", FIFOQ_URL="redis://127.0.0.1:1/0")
    assert down.end() == 3
    assert down.text.startswith("fifoq: redis://127.0.0.1:1 cannot be reached")
    assert len(down.lines) == 1


def test_a_crash_loop_ends_with_the_sentence_of_the_process(start: Start, folder: Path, sqlite: str) -> None:
    (folder / "app.py").write_text(
        "from contextlib import asynccontextmanager\nfrom fifoq import Fifoq\n@asynccontextmanager\n"
        "async def lifespan():\n    raise OSError('no disk')\n    yield\ntasks = Fifoq(lifespan=lifespan)\n"
    )
    worker = start("worker", "app", "--processes", "2", "--give-up", "2", FIFOQ_URL=sqlite)
    assert worker.end() == 1
    assert worker.lines[-1] == "fifoq: The app did not start: OSError: no disk"
    (folder / "app.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    worker = start("worker", "app", "--processes", "2", "--give-up", "2", FIFOQ_URL=sqlite)
    assert worker.end() == 1
    assert worker.lines[-1].startswith(
        "fifoq: Worker processes ended 2 times in a row before they were ready: the last one was killed by SIGKILL."
    )


def test_pauses_between_starts_grow(start: Start, folder: Path, sqlite: str) -> None:
    (folder / "app.py").write_text("import os\nos._exit(9)\n")
    worker = start("worker", "app", "--processes", "2", "--give-up", "3", FIFOQ_URL=sqlite)
    assert worker.end() == 1
    pauses = re.findall(r"Worker process 1 .*ended with status 9. Another starts in (\S+) s", worker.text)
    assert pauses[:2] == ["0.5", "1"]


def test_probes_of_a_supervisor_name_the_process_that_is_not_ready(start: Start, sqlite: str) -> None:
    shop = shop_on(sqlite)
    worker = start("worker", "shop", "--processes", "2", "--health", "127.0.0.1:0", "--grace", "30", FIFOQ_URL=sqlite)
    port = int(worker.line("Health is served at").split(":")[-1].split("/")[0])
    assert get(port, "live")[0] == 200
    while get(port, "ready")[0] != 200:
        assert worker.process.poll() is None
    enqueue(shop, "pause", (600.0,))
    [pid] = worker.pids("pause", 1)
    os.kill(pid, signal.SIGKILL)
    worker.line("was killed")
    status, health = get(port, "ready")
    assert status == 503
    assert re.search(r"process [12]", health["why"])
    assert get(port, "live")[0] == 200


def test_reload_starts_again_when_a_file_changes_and_waits_after_an_error(
    start: Start, folder: Path, sqlite: str
) -> None:
    worker = start("worker", "shop", "--reload", FIFOQ_URL=sqlite)
    worker.line("  store")
    text = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text("syntax error\n")
    worker.line("fifoq: shop cannot be imported: SyntaxError")
    (folder / "shop.py").write_text(text.replace('"add"', '"ADD"'))
    shop = shop_on(sqlite)
    enqueue(shop, "add", ("acme", 1))
    worker.line("ADD acme 1")
    worker.signal(signal.SIGINT)
    assert worker.end() == 0


def test_systemd_is_notified(start: Start, sqlite: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.settimeout(90)
        notified.bind(f"{tmp_path}/n")
        worker = start("worker", "shop", FIFOQ_URL=sqlite, NOTIFY_SOCKET=f"{tmp_path}/n")
        assert notified.recv(100) == b"READY=1"
        worker.signal(signal.SIGTERM)
        assert notified.recv(100) == b"STOPPING=1"
        assert worker.end() == 0


SILENT = """
import json, os, signal, sys, time
options = sys.stdin.buffer.raw.readline()
word = {"word": "beat", "health": [True, True, "", {}], "lease": 0.01, "grace": 0.1}
os.write(int(sys.argv[1]), json.dumps(word).encode() + b"\\n")
print("silent", os.getpid(), file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_a_ready_process_that_sends_no_beats_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The supervisor alone, in this process, with a worker process that hangs."""
    monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-c", SILENT))
    monkeypatch.setattr(supervisor, "SILENCE", 0.5)
    monkeypatch.setattr(supervisor, "configure", lambda *_, **__: None)
    log: list[str] = []

    def warn(line: str, *values: Any) -> None:
        log.append(line % values)
        if "Another starts" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(supervisor.log, "error", warn)
    monkeypatch.setattr(supervisor.log, "warning", warn)
    assert supervisor.supervise(WorkerOptions(app="shop", app_dir=str(folder), processes=2)) == 0
    assert "has sent no beat" in log[0]
    assert any("was killed by SIGKILL" in line for line in log)


SPAWN = """
import subprocess
from fifoq import Fifoq
tasks = Fifoq()
@tasks.task
def spawn() -> None:
    subprocess.run("sleep 0.3 & echo ran spawn $!", shell=True)
"""
IN_A_CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc"]


@pytest.mark.skipif(
    subprocess.run([*IN_A_CONTAINER, "true"], capture_output=True).returncode != 0, reason="may make no namespace"
)
def test_as_process_1_of_a_container_it_ends_by_sigterm_and_reaps_strangers(folder: Path, sqlite: str) -> None:
    (folder / "shop.py").write_text(SPAWN)
    arguments = ("worker", "shop", "--processes", "2", "--grace", "5")
    program = Program(folder, arguments, {"FIFOQ_URL": sqlite}, [*IN_A_CONTAINER, *FIFOQ])
    inside = 0
    try:
        program.line("  store")
        inside = children(program.process.pid)[0]
        tasks = Fifoq(sqlite)
        tasks.task(name="spawn")(lambda: None)
        tasks.tasks["spawn"].enqueue_sync()
        program.line("ran spawn")
        while len(children(inside)) < 3:  # the stranger, below process 1 now
            assert program.process.poll() is None
        while len(children(inside)) > 2:
            assert program.process.poll() is None
        os.kill(inside, signal.SIGTERM)
        assert program.end() == 0
    finally:
        if inside and lives(inside):
            os.kill(inside, signal.SIGKILL)
        program.kill()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
