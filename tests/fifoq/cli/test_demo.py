"""`fifoq demo` over a real server: it proves what it prints, and exits 1 when a claim does not hold."""

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
from fifoq.cli.demo import stage

HERE = Path(__file__).parent
SCRIPT = [sys.executable, "-c", "from fifoq.cli import main; main()"]


def fifoq(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *arguments], capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def broken_claims(printed: str) -> set[str]:
    report = json.loads(printed)
    assert not report["holds"]
    return {claim["claim"] for claim in report["claims"] if not claim["holds"]}


def test_a_killed_worker_costs_nothing_and_the_demo_proves_every_claim(tmp_path: Path) -> None:
    done = fifoq("demo", "--games", "12", "--json", "--seed", "3", TMPDIR=str(tmp_path), FIFOQ_URL="")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert report["holds"]
    assert (report["seed"], report["backend"]) == (3, "SQLite in a temporary folder")
    assert {claim["holds"] for claim in report["claims"]} == {True}
    assert len(report["claims"]) == 9
    fifoq_way, naive_way = report["fifoq"], report["naive"]
    assert (fifoq_way["games"], fifoq_way["games_right"], fifoq_way["moves"]) == (12, 12, 1038)
    assert (fifoq_way["lost"], fifoq_way["twice"], fifoq_way["overlapping"]) == (0, 0, 0)
    assert fifoq_way["in_order"] == fifoq_way["moves_right"] == 1038
    assert fifoq_way["recovered"] == fifoq_way["stumbling"] > 0
    assert fifoq_way["most_at_once"] > 1
    assert fifoq_way["kill"]["workers"] > 0
    assert fifoq_way["kill"]["repeated"] >= fifoq_way["kill"]["taken_over"] == fifoq_way["kill"]["cut"] > 0
    assert naive_way["games_right"] < 12
    assert list(tmp_path.iterdir()) == []


def test_in_memory_it_is_one_process_and_says_that_it_kills_nobody() -> None:
    """Also: off a terminal the report has no colour and no bars."""
    done = fifoq("demo", "--games", "6", FIFOQ_URL="memory://")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "519 moves of 6 games" in done.stdout
    assert "no worker was killed" in done.stdout
    assert re.search(r"games with the right final board\s+\d of 6\s+6 of 6", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_on_a_file_of_ones_own_it_leaves_the_jobs_and_says_where(tmp_path: Path) -> None:
    done = fifoq("demo", "--games", "2", "--url", f"sqlite:///{tmp_path}/mine.db", COLUMNS="200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"fifoq on sqlite:///{tmp_path}/mine.db" in done.stdout
    assert "others took over from a killed worker" in done.stdout
    assert (tmp_path / "mine.db").exists()


def test_jobs_without_a_key_make_the_demo_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SERVER", [sys.executable, str(HERE / "faulty_server.py")])
    done = CliRunner().invoke(commands.app, ["demo", "--games", "8", "--json"])
    assert done.exit_code == 1
    assert "each game was played in order" in broken_claims(done.stdout)
    assert "claims do not hold" in done.stderr


def test_a_kill_that_kills_nobody_makes_the_demo_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spare(self: stage.Stage, worker: int) -> stage.Casualty:
        return stage.Casualty(worker, time.monotonic(), time.monotonic())

    monkeypatch.setattr(stage.Stage, "kill", spare)
    done = CliRunner().invoke(commands.app, ["demo", "--games", "6", "--json"])
    assert done.exit_code == 1
    assert "others took over from a killed worker" in broken_claims(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("demo", "--games", "0"), 2, "greater than or equal to 1"),
        (("demo", "--url", "nowhere://"), 2, "nowhere"),
        (("demo", "--url", "sqlite:///no/such/folder/jobs.db"), 2, "Check that the folder of"),
        (("demo", "--url", "sqlite:///jobs.db?mode=ro"), 2, "takes the parameters synchronous, timeout"),
        (("demo", "--no-such-option"), 2, "No such option"),
        (("no-such-command",), 2, "No such command"),
    ],
)
def test_a_mistake_is_a_sentence_and_no_traceback(arguments: tuple[str, ...], status: int, sentence: str) -> None:
    done = fifoq(*arguments)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("name", "what"), [("SERVER", "server"), ("WORKER", "worker")])
def test_a_process_that_does_not_start_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, what: str
) -> None:
    monkeypatch.setattr(stage, name, [sys.executable, "-c", "import sys; sys.exit(3)"])
    monkeypatch.setattr(sys, "argv", ["fifoq", "demo", "--games", "1"])
    assert commands.run() == 1
    assert f"{what} did not start: it ended with status 3" in capsys.readouterr().err


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
    processes = children(demo.pid)
    demo.send_signal(number)
    _, said = demo.communicate(timeout=30)
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
    assert b"Traceback" not in said
    if number is not signal.SIGKILL:
        assert demo.returncode == 130
        assert said == b""
        assert list(tmp_path.iterdir()) == []


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize(("missing", "extra"), [("typer", "cli"), ("rich", "cli"), ("aiosqlite", "sqlite")])
def test_a_missing_extra_is_named(missing: str, extra: str) -> None:
    blocked = f"import sys; sys.modules[{missing!r}] = None; from fifoq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", blocked, "demo"], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert f'pip install "fifoq[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"fifoq \d+\.\d+\.\d+\S*\n", fifoq("--version").stdout)
