"""`fifoq demo` with real processes: every printed promise was checked, and the demo exits 1 when one does not hold."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fifoq.cli import commands
from fifoq.cli.demo import processes

SCRIPT = [sys.executable, "-c", "from fifoq.cli import main; main()"]


FAULTY_SERVER = """
import sys
from fifoq.cli.demo.processes import Arguments
from fifoq.cli.demo.service import make_app, serve

serve(make_app(Arguments(*sys.argv[1:]), key=None))
"""
"""The demo's server with a planted bug: its jobs have no key, so nothing keeps the moves of a game in order."""


def fifoq(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *arguments], capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def broken_promises(printed: str) -> set[str]:
    report = json.loads(printed)
    assert not report["holds"]
    return {promise["promise"] for promise in report["promises"] if not promise["holds"]}


def test_a_killed_worker_costs_nothing_and_the_demo_proves_every_promise(tmp_path: Path) -> None:
    done = fifoq("demo", "--games", "12", "--json", "--seed", "3", TMPDIR=str(tmp_path), FIFOQ_URL="")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert report["holds"]
    assert (report["seed"], report["backend"]) == (3, "SQLite in a temporary folder")
    assert {promise["holds"] for promise in report["promises"]} == {True}
    assert len(report["promises"]) == 9
    fifoq_way, naive_way = report["fifoq"], report["naive"]
    assert (fifoq_way["games"], fifoq_way["games_right"], fifoq_way["moves"]) == (12, 12, 1038)
    assert (fifoq_way["lost"], fifoq_way["stored_twice"], fifoq_way["overlapping"]) == (0, 0, 0)
    assert fifoq_way["in_order"] == fifoq_way["moves_right"] == 1038
    assert fifoq_way["recovered"] == fifoq_way["planned_failures"] > 0
    assert fifoq_way["most_at_once"] > 1
    assert fifoq_way["kill"]["workers"] > 0
    assert fifoq_way["kill"]["repeated"] >= fifoq_way["kill"]["taken_over"] == fifoq_way["kill"]["interrupted"] > 0
    assert naive_way["games_right"] < 12
    assert list(tmp_path.iterdir()) == []


def test_in_memory_it_is_one_process_and_reports_that_no_worker_was_killed() -> None:
    """Also: where the output is no terminal, the report has no colour and no bars."""
    done = fifoq("demo", "--games", "6", FIFOQ_URL="memory://")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "519 moves of 6 games (the 6 of Kasparov against Deep Blue, 1997, once each)" in done.stdout
    assert "no worker was killed" in done.stdout
    assert re.search(r"games with the right final board\s+\d of 6\s+6 of 6", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_on_a_file_of_the_user_it_leaves_the_jobs_and_names_the_file(tmp_path: Path) -> None:
    done = fifoq("demo", "--games", "2", "--url", f"sqlite:///{tmp_path}/mine.db", COLUMNS="200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"fifoq on sqlite:///{tmp_path}/mine.db" in done.stdout
    assert "others took over from a killed worker" in done.stdout
    assert "(lease 2 s)" in done.stdout
    assert "The demo's leases last 2 s" in " ".join(done.stdout.split())
    assert "stored twice" in done.stdout
    assert (tmp_path / "mine.db").exists()


def test_jobs_without_a_key_make_the_demo_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SERVER", [sys.executable, "-c", FAULTY_SERVER])
    done = CliRunner().invoke(commands.app, ["demo", "--games", "8", "--json"])
    assert done.exit_code == 1
    assert "each game was played in order" in broken_promises(done.stdout)
    assert "promises do not hold" in done.stderr


def test_a_kill_without_effect_makes_the_demo_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spare(self: processes.Processes, worker: int) -> processes.KilledWorker:
        return processes.KilledWorker(worker, time.monotonic(), time.monotonic())

    monkeypatch.setattr(processes.Processes, "kill", spare)
    done = CliRunner().invoke(commands.app, ["demo", "--games", "6", "--json"])
    assert done.exit_code == 1
    assert "others took over from a killed worker" in broken_promises(done.stdout)


@pytest.mark.parametrize(("name", "process"), [("SERVER", "server"), ("WORKER", "worker")])
def test_a_process_that_does_not_start_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, process: str
) -> None:
    monkeypatch.setattr(processes, name, [sys.executable, "-c", "import sys; sys.exit(3)"])
    monkeypatch.setattr(sys, "argv", ["fifoq", "demo", "--games", "1"])
    assert commands.run() == 1
    assert f"{process} did not start: it ended with status 3" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the processes by /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_however_the_demo_is_ended_it_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    demo = subprocess.Popen(
        [*SCRIPT, "demo", "--games", "200"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    wait_until(lambda: len(children(demo.pid)) == 3 and list(tmp_path.glob("*/naive/*")))
    started = children(demo.pid)
    demo.send_signal(number)
    _, errors = demo.communicate(timeout=30)
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in started))
    assert b"Traceback" not in errors
    if number is not signal.SIGKILL:
        assert demo.returncode == 130
        assert errors == b""
        assert list(tmp_path.iterdir()) == []


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
