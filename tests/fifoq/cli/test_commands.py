"""The command line ends with a sentence and an exit status, never with a traceback."""

import re
import subprocess
import sys

import pytest

from fifoq.extras import install_line

SCRIPT = [sys.executable, "-c", "from fifoq.cli import main; main()"]


def fifoq(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SCRIPT, *arguments], capture_output=True, text=True, timeout=120)


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


@pytest.mark.parametrize(("missing", "extra"), [("typer", "cli"), ("rich", "cli"), ("aiosqlite", "sqlite")])
def test_a_missing_extra_is_named(missing: str, extra: str) -> None:
    blocked = f"import sys; sys.modules[{missing!r}] = None; from fifoq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", blocked, "demo"], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert install_line(extra) in done.stderr
    assert re.search(rf'pip install .*"{missing}[^"]*"', done.stderr)
    assert "Traceback" not in done.stderr


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"fifoq \d+\.\d+\.\d+\S*\n", fifoq("--version").stdout)
