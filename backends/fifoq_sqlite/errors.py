"""Translation of errors of SQLite and the operating system into errors of fifoq: the cause, the file, the next step."""

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
_DAMAGE = ("no such table", "no such column", "duplicate column", "table fifoq_", "Could not decode")
"""How the errors begin that SQLite has for a schema, and Python for a text, that fifoq did not write."""
_NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}
"""SQLite reports a write beyond the process's file size limit, or beyond a quota, as an I/O error."""


def translate(error: Exception, path: Path, timeout: float, *, committing: bool = False) -> BackendError | None:
    """
    Return the error of fifoq for an error of SQLite or the operating system, or None for any other: a bug in the code.

    `committing`: COMMIT itself raised the error. If it failed to flush, the transaction may still be in the file.
    """
    if isinstance(error, OSError):
        return _translate_os_error(error, path)
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorname", "") or ""
    if _is(code, _CORRUPT) or str(error).startswith(_DAMAGE):
        return corrupt(path, f"{error!s:.200}")
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


def _translate_os_error(error: OSError, path: Path) -> BackendError:
    cause = f"{error.filename or path}: {error.strerror or error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return BackendFull(f"{cause} Nothing was changed. Make room, and work resumes.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return BackendReadOnly(f"{cause} fifoq writes to {path} and into the folder it lies in; check the permissions.")
    return BackendUnavailable(f"{cause} Check that the folder of {path} exists and can be reached.")


def busy(path: Path, timeout: float) -> BackendBusy:
    return BackendBusy(
        f"{path} was locked by others for {timeout:g} s. Nothing was changed. Look for a process that holds a "
        "transaction open or is stopped, or allow more time with ?timeout=<seconds>."
    )


def gone(name: str, how: str) -> BackendUnavailable:
    """Return the error for a file of the store that is not the open one any more; `how` is "removed", for instance."""
    error = BackendUnavailable(
        f"{name} was {how} while it was open: its writes go to a file that no other process finds. Nothing was "
        "changed. Restart all its processes."
    )
    error.lasting = True
    return error


def gone_meanwhile(error: BackendUnavailable) -> OutcomeUnknown:
    """Return the error for calls during which that happened."""
    unknown = OutcomeUnknown(str(error).replace("Nothing was changed", "The last calls may be lost"))
    unknown.lasting = True
    return unknown


def corrupt(path: Path, cause: str) -> BackendCorrupt:
    return BackendCorrupt(
        f"{path} cannot be read as a store of fifoq: {cause}. Nothing was repaired or recreated. Stop all its "
        "processes, keep a copy of the file with its -wal, and restore a backup or try sqlite3's .recover."
    )


def _is(code: str, codes: set[str]) -> bool:
    """Return whether `code` is in `codes` or extends one of them: SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY."""
    return any(code == known or code.startswith(f"{known}_") for known in codes)
