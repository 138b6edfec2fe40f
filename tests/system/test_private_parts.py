"""Libraries whose private parts fifoq uses: a version without them is an error that names the versions that work."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiosqlite
import pytest
from fastapi import APIRouter

from fifoq import Fifoq
from fifoq.errors import ConfigurationError
from fifoq.extras import unfit
from fifoq_fastapi import router
from fifoq_redis.connection import RawConnection
from fifoq_sqlite.connection import Connection


async def test_redis() -> None:
    changed: Any = SimpleNamespace(_stream_writer=None)
    with pytest.raises(ConfigurationError, match=r'installed redis \d.*pip install .*"redis\[hiredis\]<9,>=5"'):
        RawConnection(changed, lambda _: None, lambda _: None)


async def test_aiosqlite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(aiosqlite.Connection, "__init__", lambda self, *_: None)
    monkeypatch.setattr(Connection, "__del__", lambda self: None)
    with pytest.raises(ConfigurationError, match=r'installed aiosqlite .*pip install "aiosqlite<0.23,>=0.22.1"'):
        Connection(tmp_path / "jobs.db", "FULL", 1.0)


def test_fastapi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(APIRouter, "_get_routes_version")
    with pytest.raises(ConfigurationError, match=r'installed fastapi .*pip install "fastapi<1,>=0.137"'):
        router(Fifoq("memory://"), expose=[], public=True)


def test_a_package_that_is_not_installed() -> None:
    assert re.search("nothing-at-all of an unknown version.*pip install nothing-at-all", str(unfit("nothing-at-all")))
