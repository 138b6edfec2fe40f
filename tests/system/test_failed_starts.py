"""A worker whose start fails: its program ends with one sentence and a status of its own, and without a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from fifoq import Fifoq
from fifoq.errors import BackendUnavailable, ConfigurationError, FifoqError

PROGRAM = """
import asyncio
from fifoq import Fifoq

tasks = Fifoq({url!r}, patience=0.2)

@tasks.task
async def work() -> None: ...

async def main() -> None:
    await tasks.worker().run()

if __name__ == "__main__":
    asyncio.run({start})
"""
DOWN, WRONG = "redis://127.0.0.1:1/0", "redis://127.0.0.1:1/0?color=red"


@pytest.mark.parametrize("start", ["tasks.worker().run()", "main()"])
@pytest.mark.parametrize(
    ("url", "status", "sentence"),
    [
        (DOWN, 3, "fifoq: redis://127.0.0.1:1 cannot be reached"),
        ("sqlite:////no/such/folder/jobs.db", 3, "fifoq: "),
        (WRONG, 2, "fifoq: A redis:// URL takes the parameters"),
        ("nowhere://", 2, "fifoq: "),
    ],
)
def test_a_program_says_why_and_ends(tmp_path: Path, start: str, url: str, status: int, sentence: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.format(url=url, start=start))
    ended = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stderr.startswith(sentence)
    assert (ended.returncode, ended.stderr.count("\n"), ended.stdout) == (status, 1, "")


@pytest.mark.parametrize(("url", "kind"), [(DOWN, BackendUnavailable), (WRONG, ConfigurationError)])
async def test_a_program_can_catch_the_error(
    url: str, kind: type[FifoqError], capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = Fifoq(url, patience=0.2)
    with pytest.raises(kind) as raised:
        await tasks.worker().run()
    assert isinstance(raised.value, SystemExit)
    assert type(raised.value.__cause__) is kind
    assert str(raised.value) == str(raised.value.__cause__)
    assert type(raised.value).__name__ == kind.__name__
    assert capsys.readouterr().err == f"fifoq: {raised.value}\n"


async def test_an_embedded_worker_raises_it_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = Fifoq(DOWN, patience=0.2)
    with pytest.raises(BackendUnavailable) as raised:
        async with tasks.worker():
            pass
    assert not isinstance(raised.value, SystemExit)
    assert capsys.readouterr() == ("", "")
