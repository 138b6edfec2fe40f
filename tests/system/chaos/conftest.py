"""Where the chaos tests run: each once on every store that more than one process can reach."""

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.system.chaos.controller import ROOT, Controller, program

URLS: dict[str, Callable[[Path], str]] = {
    # Without flushes: no test here pulls a plug, and two hundred processes need not wait for a disk.
    "sqlite": lambda folder: f"sqlite:///{folder}/jobs.db?synchronous=normal",
}


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    return URLS[request.param](tmp_path)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Where the processes write what they see."""
    folder = tmp_path / "history"
    folder.mkdir()
    return folder


@pytest.fixture
async def controller(url: str, history: Path) -> AsyncIterator[Controller]:
    async with Controller(url, history) as controller:
        yield controller


@pytest.fixture(scope="session")
def thirty_seconds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """What happens while a foreign lock is kept for so long, by kind of lock: see `programs/locked.py`."""
    running = {
        kind: subprocess.Popen(
            program("locked", tmp_path_factory.mktemp(kind), kind, 30),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in ("sqlite", "lock")
    }
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="session", autouse=True)
def _begin_early(request: pytest.FixtureRequest) -> None:
    """Let the thirty seconds pass while other tests run."""
    if any("thirty_seconds" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("thirty_seconds")
