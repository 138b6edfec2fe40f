"""Translation of errors of redis-py and the server into FifoqErrors: what happened, where, and what to do next."""

import re
from collections.abc import Callable

from redis import exceptions as driver

from fifoq.errors import (
    BackendBusy,
    BackendCorrupt,
    BackendFull,
    BackendReadOnly,
    BackendUnavailable,
    ConfigurationError,
    FifoqError,
    OutcomeUnknown,
)

SCHEMA = 1
"""The schema of the stored keys."""

UNKNOWN = "NOFUNCTION"
"""Our code for the server's error that it does not know a function."""
_NO_FUNCTION = "Function not found"
# The server repeats the beginning of what was sent, which may be the data of a job: only the name is shown.
_UNKNOWN_COMMAND = re.compile(r"(?:ERR )?unknown (?:sub)?command '?`?(?P<name>[\w|.-]{1,40})", re.IGNORECASE)

_CODES: dict[type[Exception], str] = {
    driver.ReadOnlyError: "READONLY",
    driver.BusyLoadingError: "LOADING",
    driver.OutOfMemoryError: "OOM",
    driver.NoPermissionError: "NOPERM",
    driver.AuthenticationError: "NOAUTH",
    driver.AuthenticationWrongNumberOfArgsError: "NOAUTH",
    driver.MasterDownError: "MASTERDOWN",
}
"""The first words of errors that redis-py, which logs in, has cut off."""


class Unsent(Exception):
    """The command did not reach the server: nothing took effect."""


class Refused(Exception):
    """The server answered with an error, which is the text of this."""


class Lost(Exception):
    """The command was sent, and no reply came: it may have taken effect."""


def words(error: Exception) -> tuple[str, str]:
    """Return the first word of a server's error, which is its kind, and the rest."""
    code = _CODES.get(type(error))
    if code is not None:
        return code, str(error)
    text = str(error).removeprefix("ERR ")
    if text.startswith(_NO_FUNCTION):
        return UNKNOWN, text
    first, _, rest = text.partition(" ")
    return first, rest


def translate(error: Exception, where: str, *, reads: bool) -> Exception:
    """Return the FifoqError for an error of a call; other errors as they are. `reads`: the call writes nothing."""
    match error:
        case Unsent():
            return unreachable(where, error)
        case Lost():
            return lost(where, error, reads=reads)
        case Refused() | driver.RedisError():
            return refused(where, error)
        case _:
            return error


def lost(where: str, what: object, *, reads: bool) -> FifoqError:
    """Return the error for a call without a reply; a call that only reads cannot have changed anything."""
    if reads:
        return BackendUnavailable(
            f"{where} gave no answer: {what}. Nothing was changed. It is safe to repeat the call."
        )
    return OutcomeUnknown(
        f"{where} gave no answer: {what}. The call may have taken effect or not; it is safe to repeat it."
    )


def unreachable(where: str, what: object) -> BackendUnavailable:
    why = str(what).rstrip(".")
    return BackendUnavailable(
        f"{where} cannot be reached: {why}. Nothing was changed. Check that the server runs and can be reached from "
        "here."
    )


def refused(where: str, error: Exception) -> FifoqError:
    """Return the FifoqError for an error reply of the server."""
    unknown = _UNKNOWN_COMMAND.match(str(error))
    if unknown is not None:
        return _no_command(where, unknown["name"])
    code, rest = words(error)
    make = _ANSWERS.get(code)
    if make is None and "user_function" in str(error):
        make = foreign  # a function could not read a stored value
    if make is None:
        return BackendUnavailable(f"{where} refused a call: {code} {rest}")
    return make(where, rest.partition(" script: ")[0])


def _busy(where: str, what: str) -> FifoqError:
    return BackendBusy(f"{where} is busy: {what} Nothing was changed. It is safe to repeat the call.")


def _not_ready(where: str, what: str) -> FifoqError:
    return BackendUnavailable(f"{where} is not ready: {what} Nothing was changed. It is safe to repeat the call.")


def _full(where: str, what: str) -> FifoqError:
    return BackendFull(
        f"{where} is at its maxmemory and takes no more jobs. Nothing was changed. Stored jobs can still be "
        f"run; let workers drain, or raise maxmemory. ({what})"
    )


def _read_only(where: str, what: str) -> FifoqError:
    return BackendReadOnly(
        f"{where} takes no writes: {what} Nothing was changed. If it became a replica, point the URL at the primary, "
        "or use redis+sentinel://, which follows it."
    )


def _not_written(where: str, what: str) -> FifoqError:
    return BackendReadOnly(
        f"{where} takes no writes, because it cannot make them as safe as it is configured to: {what} Nothing was "
        "changed. Look at its disk and its replicas."
    )


def _unknown(where: str, what: str) -> FifoqError:
    return BackendUnavailable(
        f"{where} forgets fifoq's functions as fast as they are loaded: {what}. Nothing was changed. Look for a "
        "program that runs FUNCTION FLUSH or FUNCTION DELETE there; it is safe to repeat the call."
    )


def _denied(where: str, what: str) -> FifoqError:
    return ConfigurationError(
        f"{where} denies access: {what} Check the user and the password in the URL, and the user's ACL; the "
        "documentation lists the commands, keys and channels that fifoq needs."
    )


def _no_command(where: str, name: str) -> FifoqError:
    return ConfigurationError(
        f"{where} has no command {name.upper()}, which fifoq needs: it runs on Redis from 7.0 on and on "
        "Valkey, without renamed commands, and without a proxy that lacks some. Waiting does not help."
    )


def foreign(where: str, what: str) -> FifoqError:
    """Return the error for stored data that is not fifoq's, or is damaged."""
    return BackendCorrupt(
        f"{where} holds data that cannot be read as a queue of fifoq: {what} Nothing was repaired. If another "
        "application uses these keys, choose another prefix with ?prefix=."
    )


def _newer(where: str, what: str) -> FifoqError:
    return newer(where, int(what.split(maxsplit=1)[0]))


def newer(where: str, schema: int) -> ConfigurationError:
    return ConfigurationError(
        f"{where} holds queues of schema {schema}, made by a newer fifoq; this one knows schema {SCHEMA}. Upgrade "
        "fifoq here before you use this store."
    )


def _overtaken(where: str, what: str) -> FifoqError:
    return OutcomeUnknown(
        f"This call was overtaken: its caller has made call {what.strip()} since. Nothing was changed now; whether it "
        "took effect when it was first sent is not known any more. Look at the jobs."
    )


_ANSWERS: dict[str, Callable[[str, str], FifoqError]] = {
    "OOM": _full,
    "READONLY": _read_only,
    "MISCONF": _not_written,
    "NOREPLICAS": _not_written,
    "BUSY": _busy,
    "TRYAGAIN": _busy,
    "LOADING": _not_ready,
    "MASTERDOWN": _not_ready,
    "CLUSTERDOWN": _not_ready,
    "NOAUTH": _denied,
    "WRONGPASS": _denied,
    "NOPERM": _denied,
    UNKNOWN: _unknown,
    "WRONGTYPE": foreign,
    "FOREIGN": lambda where, _: foreign(where, "the queue has keys, but no counters."),
    "CORRUPT": foreign,
    "NEWERSCHEMA": _newer,
    "OVERTAKEN": _overtaken,
}
