"""The URL of a store, parsed strictly into the path and the options of a connection. Parsing does no I/O."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fifoq.errors import ConfigurationError
from fifoq.url import read_query, read_timeout

_LEVELS = ("normal", "full")


class Location(NamedTuple):
    """A store's file and the two options of its URL."""

    path: Path
    """Absolute, so that a later change of directory does not change the store."""
    synchronous: str = "full"
    """`full`: every commit survives a power loss; `normal`: the last commits may be lost, the earlier ones survive."""
    timeout: float = 5.0
    """Seconds that a call waits for the writes of other processes before it raises BackendBusy."""

    @classmethod
    def parse(cls, url: str) -> "Location":
        """
        Parse `sqlite:///rel.db` or `sqlite:////abs.db`, with `?synchronous=normal|full` and `&timeout=<seconds>`.

        Raises ConfigurationError for anything else.
        """
        parts = urlsplit(url)
        if parts.scheme != "sqlite":
            raise ConfigurationError(f"A SQLite URL begins with sqlite:///, not {parts.scheme}:.")
        if parts.netloc or not url.startswith("sqlite:///"):
            raise ConfigurationError(
                "A SQLite URL has no host: three slashes before a relative path (sqlite:///jobs.db), "
                "four before an absolute one (sqlite:////var/lib/jobs.db)."
            )
        if "#" in url or url.endswith("?") or not url.isprintable():
            raise ConfigurationError(
                "A SQLite URL has no fragment, no empty query and no control characters; "
                "in the path, write # as %23 and ? as %3F."
            )
        options = read_query(parts.query, ("synchronous", "timeout"), "SQLite", url)
        return cls(
            _path(parts.path[1:]),
            _synchronous(options.get("synchronous", "full")),
            read_timeout(options.get("timeout", "5"), url),
        )


def _path(text: str) -> Path:
    try:
        name = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise ConfigurationError("The path in a SQLite URL is percent-encoded UTF-8; this one is not.") from error
    if not name or name.endswith("/"):
        raise ConfigurationError("A SQLite URL names a file, like sqlite:///jobs.db.")
    if name.startswith(":"):
        raise ConfigurationError("SQLite here is always a file. For a store in memory, use memory://.")
    if not name.isprintable():
        raise ConfigurationError("The path in a SQLite URL has no control characters.")
    return Path(name).absolute()


def _synchronous(value: str) -> str:
    if value not in _LEVELS:
        raise ConfigurationError(f"synchronous is normal or full, not {value!r}.")
    return value
