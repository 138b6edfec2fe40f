"""SQLite as a backend of fifoq: the whole contract in one file, for many processes of one host."""

from fifoq_sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
