"""Where the system tests run: each once on every store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq import backends
from fifoq.clock import Clock
from fifoq.queue import Backend, BackendFactory
from fifoq.testing.history import MemoryLog

URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda directory: f"memory://{directory.name}",
    "sqlite": lambda directory: f"sqlite:///{directory}/jobs.db",
}


@pytest.fixture(params=[*URLS, "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "redis":
        return request.getfixturevalue("any_redis_server").url
    return URLS[request.param](tmp_path)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Backend], Any]], None]:
    """A function that puts a wrapper of the test between each Fifoq made from now on and its store."""
    find: Callable[..., BackendFactory] = backends._load  # pyright: ignore[reportPrivateUsage]

    def wrap(wrapper: Callable[[Backend], Any]) -> None:
        def load(*found: Any) -> Callable[..., Any]:
            def make(url: str, *, clock: Clock | None = None) -> Any:
                return wrapper(find(*found)(url, clock=clock))

            return make

        monkeypatch.setattr(backends, "_load", load)

    return wrap
