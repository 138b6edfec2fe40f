"""SQLite keeps the contract."""

from functools import partial
from pathlib import Path

import pytest

from fifoq.backends import connect
from fifoq.testing import MakeBackend, QueueContract
from fifoq.testing.contract import ProcessContract
from fifoq.testing.contract.processes import MakeElsewhere
from fifoq_sqlite import SqliteBackend


class TestSqlite(QueueContract):
    @pytest.fixture
    def make_backend(self, tmp_path) -> MakeBackend:
        # Without flushes: these tests pull no plug, and wait for no disk.
        return lambda clock: SqliteBackend(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal", clock=clock)


class TestSqliteInProcesses(ProcessContract):
    @pytest.fixture
    def make_backend_elsewhere(self, tmp_path: Path) -> MakeElsewhere:
        return partial(connect, f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
