"""Reads the query of a store's URL, strictly. It is the same for all stores."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from fifoq.errors import ConfigurationError

LONGEST = 3_600.0
"""The longest time that a URL may set, in seconds."""


def read_query(query: str, known: Sequence[str], what: str) -> dict[str, str]:
    """
    Return the parameters of a URL's query by name. `what` is the kind of URL, for errors.

    Raises ConfigurationError for a parameter that is unknown, repeated or empty, and for a malformed query.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ConfigurationError(
            f"The query of a {what} URL reads like ?{known[0]}=…, parameters joined by &; it takes {', '.join(known)}."
        ) from error
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise ConfigurationError(
                f"A {what} URL takes the parameters {', '.join(known)}, and no others like {name!r}."
            )
        if name in options:
            raise ConfigurationError(f"A {what} URL has the parameter {name!r} once, not twice.")
        if not value:
            raise ConfigurationError(f"The parameter {name!r} of a {what} URL has no value.")
        options[name] = value
    return options


def read_timeout(text: str) -> float:
    """Return the seconds of `timeout=`. Raises ConfigurationError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST:
        raise ConfigurationError(f"timeout is a number of seconds above 0 and up to {LONGEST:,.0f}, not {text!r}.")
    return seconds
