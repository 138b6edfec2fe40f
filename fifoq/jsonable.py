"""
Stored values as JSON, in the form that every view shows. It is total: each value that the codec decodes has one.

Types without a JSON form of their own become texts (bytes as base64, times in ISO 8601, NaN and infinities by name), a
number (a timedelta, in seconds) or a list (a tuple; a set, sorted). A value that JSON cannot hold is replaced, at its
place, by a *marker*: an object whose member `$fifoq` names the reason.

- `{"$fifoq": "too deep"}`: a list or an object nested more than `MAX_DEPTH` deep.
- `{"$fifoq": "too large", "bytes": 70000}`: a part that takes so many bytes as JSON, where the view has a limit.
- `{"$fifoq": "integer", "hex": "-0x1f…"}`: an integer of more than `MAX_BITS` bits.
- `{"$fifoq": "pairs", "items": [[key, value], …]}`: a dict with keys that are no distinct texts, or that would look
  like a marker.
- `{"$fifoq": "unreadable"}`: stored bytes that cannot be read.

A lone surrogate becomes a question mark. The functions count bytes and depth, and never raise.
"""

import base64
import json
import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar, cast
from uuid import UUID

from fifoq.codec import encodable

T = TypeVar("T")

MARKER = "$fifoq"
"""The member by which programs recognise a marker."""
MAX_DEPTH = 50
"""The deepest nesting of lists and objects that is shown. Parsers of other languages refuse documents beyond 64."""
MAX_BITS = 1023
"""The most bits of an integer that is shown as a number. Larger ones are infinite for parsers that read a double."""
_MOST_MEMBERS = 100
"""The most members of a value that `bounded_json` shortens one by one."""
_MEMBER_PART = 64
"""The part of a limit, one in so many, that a shortened member may take."""

# ---- the JSON text of a value ----


def to_json(value: Any) -> str:
    """Return the JSON text of a value."""
    return dump(_form_of(value, 0))


def bounded_json(value: list[Any] | dict[str, Any], limit: int) -> str:
    """
    Return the JSON text of a list or a dict, in at most `limit` bytes.

    If it takes more, markers replace the members that are large; if it still does, one marker is all there is.
    """
    form: Any = _form_of(value, -1)  # a member is as deep as a value of its own
    text = dump(form)
    size = _size(text)
    if size <= limit:
        return text
    if len(value) <= _MOST_MEMBERS and MARKER not in form:
        text = dump(_shortened(form, limit // _MEMBER_PART))
        if _size(text) <= limit:
            return text
    marker = _too_large(size)
    return dump([marker] if isinstance(value, list) else marker)


def dump(form: Any) -> str:
    """Return the JSON text of values of the types that JSON has, encodable as UTF-8."""
    text = json.dumps(form, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if text.isascii() else encodable(text)


def unreadable() -> dict[str, Any]:
    """Return the marker for stored bytes that cannot be read."""
    return {MARKER: "unreadable"}


def readable(read: Callable[[], T], otherwise: T) -> T:
    """Return `read()`, or `otherwise` if what it reads is stored in a form that cannot be read."""
    try:
        return read()
    except Exception:  # any error: a view must not fail for one wrong record
        return otherwise


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _too_large(size: int) -> dict[str, Any]:
    return {MARKER: "too large", "bytes": size}


def _shortened(form: Any, longest: int) -> Any:
    if isinstance(form, list):
        return [_short(member, longest) for member in cast("list[Any]", form)]
    return {name: _short(member, longest) for name, member in cast("dict[str, Any]", form).items()}


def _short(form: Any, longest: int) -> Any:
    size = _size(dump(form))
    return form if size <= longest else _too_large(size)


# ---- from a value to types that JSON has ----


def _form_of(value: Any, depth: int) -> Any:
    """Return the form of a value that stands inside `depth` lists and objects."""
    kind = cast("type[Any]", type(value))
    if kind in _SAFE:
        return value
    form = _FORMS.get(kind)
    try:
        return unreadable() if form is None else form(value, depth)
    except (ValueError, OverflowError, TypeError):
        return unreadable()


def _int(value: int, _: int) -> Any:
    return value if value.bit_length() <= MAX_BITS else {MARKER: "integer", "hex": hex(value)}


def _float(value: float, _: int) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _bytes(value: bytes, _: int) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _iso(value: date | time, _: int) -> str:
    return iso_time(value)


def iso_time(value: date | time) -> str:
    """Return a date or a time in ISO 8601; UTC is `Z`."""
    return value.isoformat().replace("+00:00", "Z")


def _list(value: Iterable[Any], depth: int) -> Any:
    items = list(value)
    if items and depth >= MAX_DEPTH:
        return {MARKER: "too deep"}
    if _SAFE.issuperset(map(type, items)):
        return items
    return [_form_of(item, depth + 1) for item in items]


def _set(value: Iterable[Any], depth: int) -> Any:
    form: Any = _list(value, depth)
    # Equal sets may have different orders in different processes.
    return sorted(cast("list[Any]", form), key=dump) if isinstance(form, list) else form


def _dict(value: dict[Any, Any], depth: int) -> Any:
    if value and depth >= MAX_DEPTH:
        return {MARKER: "too deep"}
    texts = [_key(key) for key in value]
    if None in texts or MARKER in texts or len(set(texts)) < len(texts):
        return _pairs(value, depth)
    return dict(zip(texts, [_form_of(item, depth + 1) for item in value.values()], strict=True))


def _pairs(value: dict[Any, Any], depth: int) -> Any:
    if depth + 2 >= MAX_DEPTH:
        return {MARKER: "too deep"}
    pairs = [[_form_of(key, depth + 3), _form_of(item, depth + 3)] for key, item in value.items()]
    return {MARKER: "pairs", "items": pairs}


def _key(key: Any) -> str | None:
    """Return the text of a dict's key; None if it has none."""
    if type(key) is str:
        return key if key.isascii() else encodable(key)
    if key is None or type(key) is bool:
        return dump(key)
    form = _form_of(key, 0)
    return str(form) if isinstance(form, str | int | float) else None


_SAFE = frozenset({str, bool, type(None)})
_FORMS: dict[type[Any], Callable[[Any, int], Any]] = {
    int: _int,
    float: _float,
    bytes: _bytes,
    list: _list,
    tuple: _list,
    dict: _dict,
    set: _set,
    frozenset: _set,
    datetime: _iso,
    date: _iso,
    time: _iso,
    timedelta: lambda value, _: value.total_seconds(),
    UUID: lambda value, _: str(value),
    Decimal: lambda value, _: str(value),
}
