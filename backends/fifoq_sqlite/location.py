"""Where a store is and how it is opened: the URL, read strictly. It does no I/O."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from fifoq.errors import ConfigurationError

_LEVELS = ("normal", "full")


class Location(NamedTuple):
    """A store's file and the two choices that a URL may make."""

    path: Path
    """Absolute, so that a later change of directory does not change the store."""
    synchronous: str = "full"
    """`full`: a commit survives the loss of power; `normal`: the last ones may not, but those before do, in order."""
    timeout: float = 5.0
    """Seconds to wait for others' writes before a call is `BackendBusy`."""

    @classmethod
    def parse(cls, url: str) -> "Location":
        """
        Read `sqlite:///rel.db` or `sqlite:////abs.db`, with `?synchronous=normal|full` and `&timeout=<seconds>`.

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
        options = _options(parts.query)
        return cls(
            _path(parts.path[1:]),
            _synchronous(options.get("synchronous", "full")),
            _seconds(options.get("timeout", "5")),
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


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ConfigurationError("The query of a SQLite URL reads like ?synchronous=normal&timeout=5.") from error
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in ("synchronous", "timeout"):
            raise ConfigurationError(f"A SQLite URL takes the parameters synchronous and timeout, not {name!r}.")
        if name in options:
            raise ConfigurationError(f"A SQLite URL says {name!r} once, not twice.")
        options[name] = value
    return options


def _synchronous(value: str) -> str:
    if value not in _LEVELS:
        raise ConfigurationError(f"synchronous is normal or full, not {value!r}.")
    return value


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3_600:
        raise ConfigurationError(f"timeout is a number of seconds above 0 and up to 3600, not {value!r}.")
    return seconds
