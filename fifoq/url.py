"""The URL of a store: its query, read strictly, and its redacted form. The same for all stores."""

import os
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl

from fifoq.errors import ConfigurationError

LONGEST = 3_600.0
"""The longest time that a URL may set, in seconds."""
# Up to the end: its value may contain an & or a # that was not escaped.
_SECRET_PARAMETER = re.compile(
    r"(?P<name>[?&;][^=&;#]*(?:pass|secret|token|key)[^=&;#]*=).*", re.IGNORECASE | re.DOTALL
)


def redacted(url: str) -> str:
    """
    Return `url` for logs and errors: without its account, and without its query from a secret parameter on.

    The account ends at the last @, since a password may contain one that was not escaped.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url
    account, at, location = ("", "", rest) if scheme.lower() == "sqlite" else rest.rpartition("@")
    if _SECRET_PARAMETER.search(account):
        return f"{scheme}://***"  # the @ may be of the parameter's value
    shown = _SECRET_PARAMETER.sub(r"\g<name>***", location)
    return f"{scheme}://***@{shown}" if at else f"{scheme}://{shown}"


def named(url: str) -> str:
    """Return `url` for the log: redacted, and with the absolute path of a file."""
    shown = redacted(url)
    scheme, _, rest = shown.partition(":///")
    if scheme.lower() != "sqlite":
        return shown
    path, mark, query = rest.partition("?")
    return f"{scheme}:///{os.path.abspath(path)}{mark}{query}"


def quoted(text: str, url: str) -> str:
    """
    Return `text`, a part of `url`, as an error may show it.

    A URL with an account shows no part: in a password with a character that was not escaped, any part may be of the
    password.
    """
    return "the one given (not shown, since this URL has an account)" if redacted(url) != url else repr(text)


def read_query(query: str, known: Sequence[str], what: str, url: str) -> dict[str, str]:
    """
    Return the parameters of the query of `url` by name. `what` is the kind of URL, for errors.

    Raises ConfigurationError for a parameter that is unknown, repeated or empty, and for a malformed query.
    """
    pairs = _pairs(query)
    if pairs is None:
        raise ConfigurationError(
            f"The query of a {what} URL reads like ?{known[0]}=…, parameters joined by &; it takes {', '.join(known)}."
        )
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise ConfigurationError(
                f"A {what} URL takes the parameters {', '.join(known)}, and no others like {quoted(name, url)}."
            )
        if name in options:
            raise ConfigurationError(f"A {what} URL has the parameter {name!r} once, not twice.")
        if not value:
            raise ConfigurationError(f"The parameter {name!r} of a {what} URL has no value.")
        options[name] = value
    return options


def _pairs(query: str) -> list[tuple[str, str]] | None:
    # The ValueError repeats the query, so no error is raised while it is handled, which would keep it as context.
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        return None


def read_timeout(text: str, url: str) -> float:
    """Return the seconds of `timeout=`. Raises ConfigurationError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST:
        raise ConfigurationError(
            f"timeout is a number of seconds above 0 and up to {LONGEST:,.0f}, not {quoted(text, url)}."
        )
    return seconds
