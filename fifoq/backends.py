"""Makes the backend of a URL. All backends, fifoq's own too, are found through the entry points `fifoq.backends`."""

import re
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from fifoq.clock import Clock
from fifoq.errors import ConfigurationError
from fifoq.extras import install_line
from fifoq.queue import Backend, BackendFactory
from fifoq.url import redacted

GROUP = "fifoq.backends"

_EXTRAS = {"sqlite": "sqlite", "redis": "redis", "rediss": "redis", "unix": "redis", "valkey": "redis"}
"""The extra that installs a backend of fifoq's own, by the first word of its scheme (`redis+cluster`)."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)


def connect(url: str, clock: Clock | None = None) -> Backend:
    """
    Make the backend for `url`. It is not opened: nothing is connected yet.

    Raises ConfigurationError, which names the extra to install if the scheme is not known, and shows no password.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError("A backend is given by a URL like memory://, sqlite:///jobs.db or redis://localhost.")
    factory = _load(_find(scheme.lower()), scheme)
    refused = None
    try:
        return factory(url, clock=clock)
    except ValueError as error:
        refused = type(error).__name__
    # Raised outside the handler, so that the error, which may repeat a password, is no context of this one.
    raise ConfigurationError(f"{redacted(url)} is no URL of the {scheme} backend ({refused}).")


def _find(scheme: str) -> EntryPoint:
    known = entry_points(group=GROUP)
    found = next(iter(known.select(name=scheme)), None)
    if found is not None:
        return found
    extra = _EXTRAS.get(scheme.partition("+")[0])
    if extra is not None:
        raise ConfigurationError(
            f"There is no backend for {scheme}:// here, though fifoq has one. Install fifoq again, and then: "
            f"{install_line(extra)}"
        )
    names = ", ".join(sorted({f"{each.name}://" for each in known})) or "none"
    raise ConfigurationError(
        f"There is no backend for {scheme}://. Installed are {names}; others come with packages that have an entry "
        f"point in the group {GROUP!r}."
    )


def _load(entry: EntryPoint, scheme: str) -> BackendFactory:
    try:
        return cast("BackendFactory", entry.load())
    except ImportError as error:
        extra = _EXTRAS.get(scheme.lower().partition("+")[0])
        what = f"Run: {install_line(extra)}" if extra else f"Install what {entry.value} needs."
        raise ConfigurationError(
            f"The backend for {scheme}:// cannot be loaded, because {error.name or error} is missing. {what}"
        ) from error
    except AttributeError as error:
        raise ConfigurationError(
            f"The backend for {scheme}:// cannot be loaded: its entry point {entry.value} names nothing. "
            "Install the package again."
        ) from error
