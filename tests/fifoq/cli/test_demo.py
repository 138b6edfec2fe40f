"""`fifoq demo` over a real server: it proves what it prints, and exits 1 when a claim does not hold."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fifoq.cli import commands
from fifoq.cli.demo import stage

SCRIPT = [sys.executable, "-c", "from fifoq.cli import main; main()"]
FAULTY = [sys.executable, str(Path(__file__).with_name("faulty_server.py"))]


def fifoq(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *arguments], capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def test_the_demo_proves_every_claim_in_json() -> None:
    done = fifoq("demo", "--games", "12", "--json", "--seed", "3")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert report["holds"]
    assert report["seed"] == 3
    assert {claim["holds"] for claim in report["claims"]} == {True}
    assert len(report["claims"]) == 6
    fifoq_way, naive_way = report["fifoq"], report["naive"]
    assert (fifoq_way["games"], fifoq_way["games_right"], fifoq_way["moves"]) == (12, 12, 1038)
    assert (fifoq_way["lost"], fifoq_way["repeated"], fifoq_way["overlapping"]) == (0, 0, 0)
    assert fifoq_way["in_order"] == fifoq_way["moves_right"] == 1038
    assert fifoq_way["recovered"] == fifoq_way["stumbling"] > 0
    assert fifoq_way["most_at_once"] > 1
    assert naive_way["games_right"] < 12


def test_off_a_terminal_the_report_has_no_colour_and_no_bars() -> None:
    done = fifoq("demo", "--games", "6", FIFOQ_URL="memory://")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "519 moves of 6 games" in done.stdout
    assert re.search(r"games with the right final board\s+\d of 6\s+6 of 6", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_jobs_without_a_key_make_the_demo_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SERVER", FAULTY)
    done = CliRunner().invoke(commands.app, ["demo", "--games", "12", "--json"])
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert not report["holds"]
    broken = {claim["claim"] for claim in report["claims"] if not claim["holds"]}
    assert "each game was played in order" in broken
    assert "claims do not hold" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("demo", "--games", "0"), 2, "greater than or equal to 1"),
        (("demo", "--url", "nowhere://"), 2, "nowhere"),
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


def test_a_server_that_does_not_start_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(stage, "SERVER", [sys.executable, "-c", "import sys; sys.exit(3)"])
    monkeypatch.setattr(sys, "argv", ["fifoq", "demo", "--games", "1"])
    assert commands.run() == 1
    assert "did not start: it ended with status 3" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the server's process by /proc")
def test_ctrl_c_ends_the_demo_and_its_server_without_a_traceback() -> None:
    demo = subprocess.Popen([*SCRIPT, "demo", "--games", "200"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (servers := children(demo.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    demo.send_signal(signal.SIGINT)
    _, said = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert b"Traceback" not in said
    assert servers
    assert not any(Path(f"/proc/{server}").exists() for server in servers)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_named(tmp_path: Path, missing: str) -> None:
    blocked = f"import sys; sys.modules[{missing!r}] = None; from fifoq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", blocked, "demo"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'pip install "fifoq[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"fifoq \d+\.\d+\.\d+\S*\n", fifoq("--version").stdout)
