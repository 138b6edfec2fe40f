"""What an operator should know of a store's file, its folder and this SQLite."""

import sqlite3
import stat
from pathlib import Path

SAFE_SQLITE = (3, 51, 3)
"""The first without the fault that two connections could corrupt a file by committing and checkpointing at once."""


def advice(path: Path) -> tuple[str, ...]:
    return (*_library(), *_files(path))


def _library() -> list[str]:
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        return []
    return [
        f"SQLite {sqlite3.sqlite_version} can corrupt a file when two connections commit and checkpoint at once "
        "(fixed in 3.51.3). fifoq never lets them: it holds a lock around both. Other programs that write to this "
        "file would have to do the same, so let only fifoq write to it."
    ]


def _files(path: Path) -> list[str]:
    found: list[str] = []
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(f"{path} is open to others than its owner; fifoq makes it 0600.")
    if path.parent.stat().st_mode & stat.S_IWOTH and not path.parent.stat().st_mode & stat.S_ISVTX:
        found.append(f"Anybody may write to {path.parent}, and so replace the store.")
    return found
