"""The errors of SQLite as those of fifoq: what happened, to which file, and what to do next."""

import errno
import sqlite3
from pathlib import Path

from fifoq.errors import (
    BackendBusy,
    BackendCorrupt,
    BackendError,
    BackendFull,
    BackendReadOnly,
    BackendUnavailable,
    OutcomeUnknown,
)

_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_READ_ONLY = {"SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"}
_CORRUPT = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS"}
_NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}
"""A write beyond the process's file size limit, or a quota, is an I/O error to SQLite."""


def named(error: Exception, path: Path, timeout: float, *, committing: bool = False) -> BackendError | None:
    """
    Return the error of fifoq for one of SQLite or the operating system, or None if it is neither: a fault of the code.

    `committing`: it came from COMMIT itself. If that could not flush, the transaction may yet turn out to be there.
    """
    if isinstance(error, OSError):
        return _of_the_system(error, path)
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorname", "") or ""
    if _is(code, _CORRUPT):
        return corrupt(path, str(error))
    if _is(code, _NO_ROOM):
        return BackendFull(
            f"{path} cannot grow: the disk, a quota or the file size limit is full ({error}). "
            "Nothing was changed. Make room, and work resumes."
        )
    if _is(code, _BUSY):
        return busy(path, timeout)
    if _is(code, _READ_ONLY):
        return BackendReadOnly(f"{path} takes no writes ({error}). Check the permissions of the file and its folder.")
    if code == "SQLITE_CANTOPEN":
        return BackendUnavailable(f"{path} cannot be opened ({error}). Check the folder and its permissions.")
    if code.startswith("SQLITE_IOERR") and committing:
        return OutcomeUnknown(f"{path} could not be flushed ({error}): the last calls may have taken effect or not.")
    if isinstance(error, sqlite3.OperationalError):
        return BackendUnavailable(f"{path}: {error}. Nothing was changed.")
    return None


def _of_the_system(error: OSError, path: Path) -> BackendError:
    what = f"{error.filename or path}: {error.strerror or error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return BackendFull(f"{what} Nothing was changed. Make room, and work resumes.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return BackendReadOnly(f"{what} fifoq writes to {path} and into the folder it lies in; check the permissions.")
    return BackendUnavailable(f"{what} Check that the folder of {path} exists and can be reached.")


def busy(path: Path, timeout: float) -> BackendBusy:
    return BackendBusy(
        f"{path} was locked by others for {timeout:g} s. Nothing was changed. Look for a process that holds a "
        "transaction open or is stopped, or allow more time with ?timeout=<seconds>."
    )


def corrupt(path: Path, what: str) -> BackendCorrupt:
    return BackendCorrupt(
        f"{path} cannot be read as a store of fifoq: {what}. Nothing was repaired or recreated. Stop all its "
        "processes, keep a copy of the file with its -wal, and restore a backup or try sqlite3's .recover."
    )


def _is(code: str, codes: set[str]) -> bool:
    """Whether a code is one of these or an extension of one: SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY."""
    return any(code == one or code.startswith(f"{one}_") for one in codes)
