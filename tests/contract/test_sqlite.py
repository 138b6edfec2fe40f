"""SQLite keeps the contract."""

import pytest

from fifoq.testing import MakeBackend, QueueContract
from fifoq_sqlite import SqliteBackend


class TestSqlite(QueueContract):
    @pytest.fixture
    def make_backend(self, tmp_path) -> MakeBackend:
        # Without flushes: these tests pull no plug, and wait for no disk.
        return lambda clock: SqliteBackend(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal", clock=clock)
