"""
Values as bytes: msgpack, with the types of Python that it lacks. Nothing is ever imported or called to read them.

Equal values give equal bytes (sets are sorted), so that a repeated put can be told from a conflicting one. Everything
comes back with its type, except that an enum becomes its value: the task's signature rebuilds those.
"""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

import msgpack

from fifoq.errors import PayloadTooLarge

MAX_PAYLOAD = 256 * 1024
"""The default limit of an encoded payload or result, in bytes."""
MAX_TEXT = 4096
"""Errors are cut at so many bytes."""


class NotSendable(TypeError):
    """The value, or something inside it, has no form on the wire."""


def pack(value: Any) -> bytes:
    """Return the bytes of `value`. Raises NotSendable."""
    try:
        return cast(bytes, msgpack.packb(value, default=_wrap, strict_types=True))
    except NotSendable:
        raise
    except UnicodeEncodeError as error:
        raise NotSendable("a text with lone surrogates cannot be sent") from error
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise NotSendable(f"it cannot be sent: {error}") from error


def unpack(data: bytes, limit: int | None = None) -> Any:
    """Return the value of `data`. Raises ValueError if it is no whole value, or longer than `limit` bytes."""
    if limit is not None and len(data) > limit:
        raise ValueError(f"{len(data)} bytes are more than the limit of {limit}")
    try:
        return msgpack.unpackb(data, ext_hook=_unwrap, strict_map_key=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode_call(args: list[Any], kwargs: dict[str, Any]) -> bytes:
    """Return the payload of one call of a task. Raises NotSendable."""
    return pack([args, kwargs]) if args or kwargs else EMPTY_CALL


def decode_call(payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs) of a payload. Raises ValueError if it is none."""
    if payload == EMPTY_CALL:
        return (), {}
    call = unpack(payload)
    match call:
        case [list(args), dict(kwargs)]:
            return tuple(cast("list[Any]", args)), cast("dict[str, Any]", kwargs)
        case _:
            raise ValueError("not the payload of a call")


def check_size(payload: bytes, limit: int, what: str) -> bytes:
    """Return `payload` if it is at most `limit` bytes long. Raises PayloadTooLarge."""
    if len(payload) > limit:
        raise PayloadTooLarge(
            f"{what} takes {len(payload):,} bytes; the limit is {limit:,}. "
            "Store the data elsewhere and send where it is."
        )
    return payload


def encode_error(type: str, message: str, traceback: str = "") -> bytes:
    """Return the stored form of what went wrong: plain text, each part cut; of a traceback the end is kept."""
    return pack([_cut(type), _cut(message), _cut(traceback, keep_end=True)])


def _cut(text: str, *, keep_end: bool = False) -> str:
    data = text.encode("utf-8", "replace")
    kept = data[-MAX_TEXT:] if keep_end else data[:MAX_TEXT]
    return kept.decode("utf-8", "ignore")


def _wrap(value: Any) -> Any:
    """Return a form of `value` that msgpack knows: the hook for all that it does not."""
    if isinstance(value, Enum):
        return value.value
    for kind, (code, encode) in _EXTENSIONS.items():
        if isinstance(value, kind):
            return msgpack.ExtType(code, encode(value))
    for kind, plain in _PLAIN.items():
        if isinstance(value, kind):
            return plain(value)
    raise NotSendable(f"a {type(value).__module__}.{type(value).__qualname__} cannot be sent")


def _unwrap(code: int, data: bytes) -> Any:
    decode = _DECODERS.get(code)
    if decode is None:
        raise ValueError(f"unknown extension {code}")
    try:
        return decode(data)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"malformed extension {code}") from error


def _pack_sorted(values: Any) -> bytes:
    return pack(sorted(pack(value) for value in values))


def _unpack_sorted(data: bytes) -> list[Any]:
    return [unpack(item) for item in unpack(data)]


def _pack_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _plain_int(value: int) -> Any:
    """A subclass of int as an int, or one beyond 64 bits as an extension."""
    if -(2**63) <= value < 2**64:
        return int(value)
    return msgpack.ExtType(4, _pack_int(value))


def _pack_timedelta(value: timedelta) -> bytes:
    return pack([value.days, value.seconds, value.microseconds])


# A subclass stands before its base: a datetime is a date, a bool never gets here, an int only beyond 64 bits.
_EXTENSIONS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    tuple: (1, lambda value: pack(list(value))),
    set: (2, _pack_sorted),
    frozenset: (3, _pack_sorted),
    datetime: (5, lambda value: value.isoformat().encode()),
    date: (6, lambda value: value.isoformat().encode()),
    time: (7, lambda value: value.isoformat().encode()),
    timedelta: (8, _pack_timedelta),
    UUID: (9, lambda value: value.bytes),
    Decimal: (10, lambda value: str(value).encode()),
}
_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: _plain_int,
    float: float,
    bytes: bytes,
    bytearray: bytes,
    list: list,
    Mapping: dict,
    PurePath: str,
    ipaddress.IPv4Address: str,
    ipaddress.IPv6Address: str,
    ipaddress.IPv4Network: str,
    ipaddress.IPv6Network: str,
    ipaddress.IPv4Interface: str,
    ipaddress.IPv6Interface: str,
}
_DECODERS: dict[int, Callable[[bytes], Any]] = {
    1: lambda data: tuple(unpack(data)),
    2: lambda data: set(_unpack_sorted(data)),
    3: lambda data: frozenset(_unpack_sorted(data)),
    4: lambda data: int.from_bytes(data, "big", signed=True),
    5: lambda data: datetime.fromisoformat(data.decode()),
    6: lambda data: date.fromisoformat(data.decode()),
    7: lambda data: time.fromisoformat(data.decode()),
    8: lambda data: timedelta(*unpack(data)),
    9: lambda data: UUID(bytes=data),
    10: lambda data: Decimal(data.decode()),
}

EMPTY_CALL = pack([[], {}])
"""The payload of a call without arguments."""
