"""Where the system tests run: each once on every store. A store is added by a line in URLS."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fifoq.testing.history import MemoryLog

URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda directory: f"memory://{directory.name}",
}


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    return URLS[request.param](tmp_path)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Backend], object]], None]:
    """A function that puts a wrapper of the test between each Fifoq made from now on and its store."""

    def wrap(wrapper: Callable[[Backend], object]) -> None: ...

    return wrap
