"""The grammar of names, keys and ids: the same on every backend, so that jobs can change backends."""

from fifoq.errors import InvalidArguments

MAX_NAME = 128


def check_name(what: str, text: str) -> str:
    """
    Return `text` if it is a legal key, id or name: 1 to 128 characters, none of them a control character.

    Raises InvalidArguments.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArguments(f"A {what} is a str, not a {type(text).__name__}.", parameter=what)
    if not 1 <= len(text) <= MAX_NAME:
        raise InvalidArguments(f"A {what} has 1 to {MAX_NAME} characters; this one has {len(text)}.", parameter=what)
    if not text.isprintable() and any(_is_forbidden(character) for character in text):
        raise InvalidArguments(
            f"A {what} has no control characters and no lone surrogates; this one is {text!r}.", parameter=what
        )
    return text


def check_text(what: str, text: str) -> str:
    """Return `text` if a store can hold it: it is a str without lone surrogates. Raises InvalidArguments."""
    try:
        text.encode()
    except (UnicodeEncodeError, AttributeError) as error:
        raise InvalidArguments(f"{what!r} is a text without lone surrogates, not {text!r}.", parameter=what) from error
    return text


def check_queue_name(text: str) -> str:
    """Return `text` if it is a legal queue name: a name without braces, which mark a slot on a Redis cluster."""
    check_name("queue name", text)
    if "{" in text or "}" in text:
        raise InvalidArguments(f"A queue name has no braces; this one is {text!r}.", parameter="queue name")
    return text


def _is_forbidden(character: str) -> bool:
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000
