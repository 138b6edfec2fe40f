"""The types of Python that msgpack lacks: as extensions with a code, or as a plain form that a signature rebuilds."""

import ipaddress
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

import pydantic
from msgpack import ExtType

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]

UNKNOWN = object()
"""What `wrap` returns for a value that has no form."""


@dataclass(frozen=True, slots=True)
class Extension:
    """How one type travels. `encode` and `decode` are given the packing of what is inside."""

    code: int
    encode: Callable[[Any, Pack], bytes]
    decode: Callable[[bytes, Unpack], Any]


def wrap(value: Any, pack: Pack) -> Any:
    """Return a form of `value` that msgpack knows, or UNKNOWN."""
    extension = _EXTENSIONS.get(cast("type[Any]", type(value)))
    if extension is not None:
        return ExtType(extension.code, extension.encode(value, pack))
    if isinstance(value, Enum):
        return _plain_value(value.value, pack)
    for kind, extension in _EXTENSIONS.items():
        if isinstance(value, kind):
            return ExtType(extension.code, extension.encode(value, pack))
    for kinds, plain in _PLAIN:
        if isinstance(value, kinds):
            return plain(value)
    return UNKNOWN


def unwrap(code: int, data: bytes, unpack: Unpack) -> Any:
    """Return the value of an extension. Raises ValueError if there is none of that code, or it is malformed."""
    extension = _BY_CODE.get(code)
    if extension is None:
        raise ValueError(f"unknown extension {code}")
    try:
        return extension.decode(data, unpack)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"malformed extension {code}") from error


def _plain_value(value: Any, pack: Pack) -> Any:
    """The value of an enum: msgpack asks only once, so what it does not know is wrapped here."""
    if type(value) is int:
        return _plain_int(value)
    return value if type(value) in _NATIVE else wrap(value, pack)


def _list_of(data: bytes, unpack: Unpack) -> list[Any]:
    items = unpack(data)
    if type(items) is not list:
        raise ValueError("an extension of items without a list")
    return cast("list[Any]", items)


def _encode_sorted(values: Any, pack: Pack) -> bytes:
    return pack(sorted(pack(value) for value in values))


def _decode_sorted(data: bytes, unpack: Unpack) -> list[Any]:
    return [unpack(item) for item in _list_of(data, unpack)]


def _encode_int(value: int, _: Pack) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _encode_text(value: Any, _: Pack) -> bytes:
    return str(value).encode()


def _encode_iso(value: date | time, _: Pack) -> bytes:
    return value.isoformat().encode()


def _encode_timedelta(value: timedelta, pack: Pack) -> bytes:
    return pack([value.days, value.seconds, value.microseconds])


def _plain_int(value: int) -> Any:
    """A subclass of int as an int, or one beyond 64 bits as an extension: msgpack writes the others itself."""
    return int(value) if -(2**63) <= value < 2**64 else ExtType(_BIG_INT, _encode_int(value, bytes))


_NATIVE = frozenset({str, bytes, float, bool, type(None), list, dict})
_BIG_INT = 4
# A subclass stands before its base: a datetime is a date.
_EXTENSIONS: dict[type[Any], Extension] = {
    tuple: Extension(1, lambda value, pack: pack(list(value)), lambda data, unpack: tuple(_list_of(data, unpack))),
    set: Extension(2, _encode_sorted, lambda data, unpack: set(_decode_sorted(data, unpack))),
    frozenset: Extension(3, _encode_sorted, lambda data, unpack: frozenset(_decode_sorted(data, unpack))),
    datetime: Extension(5, _encode_iso, lambda data, _: datetime.fromisoformat(data.decode())),
    date: Extension(6, _encode_iso, lambda data, _: date.fromisoformat(data.decode())),
    time: Extension(7, _encode_iso, lambda data, _: time.fromisoformat(data.decode())),
    timedelta: Extension(8, _encode_timedelta, lambda data, unpack: timedelta(*_list_of(data, unpack))),
    UUID: Extension(9, lambda value, _: value.bytes, lambda data, _: UUID(bytes=data)),
    Decimal: Extension(10, _encode_text, lambda data, _: Decimal(data.decode())),
}
_BY_CODE = {extension.code: extension for extension in _EXTENSIONS.values()} | {
    _BIG_INT: Extension(_BIG_INT, _encode_int, lambda data, _: int.from_bytes(data, "big", signed=True))
}
_AS_TEXT = (
    PurePath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
    pydantic.AnyUrl,
    # The base of all that name several hosts (PostgresDsn and its like) is not public.
    pydantic.PostgresDsn.__mro__[-2],
)
_PLAIN: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, _plain_int),
    (float, float),
    ((bytes, bytearray), bytes),
    ((list, deque), list),
    (Mapping, dict),
    (_AS_TEXT, str),
)
