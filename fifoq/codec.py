"""
The codec: values as bytes. msgpack, with the types of Python that it lacks; decoding imports and calls no user code.

The same value always gives the same bytes (sets are sorted), so that a repeated put can be distinguished from a
conflicting one. Every value is decoded with its type, except that an enum becomes its value, and paths, addresses and
URLs become text: the task's signature rebuilds those.
"""

import ipaddress
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, TypeGuard, cast
from uuid import UUID

import pydantic
from msgpack import ExtType, Packer, unpackb

from fifoq.errors import InvalidArguments, PayloadTooLarge

MAX_PAYLOAD = 256 * 1024
"""The default limit of an encoded payload or result, in bytes."""
MAX_TEXT = 4096
"""The limit of a job's meta, and of each text in a stored error or progress, in bytes. Longer texts are cut."""
MAX_NESTING = 32
"""The deepest nesting of tuples, sets and the like; msgpack itself bounds lists and dicts (1,024)."""


class NotSendable(TypeError):
    """A value, or something inside it, cannot be sent. `parameter` is the argument that it was, where that is known."""

    def __init__(self, reason: str, *, parameter: str | None = None) -> None:
        super().__init__(reason)
        self.parameter = parameter


# ---- values ----


def pack(value: Any) -> bytes:
    """Return the bytes of `value`. Raises NotSendable."""
    try:
        return _pack(value, 0)
    except NotSendable:
        raise
    except UnicodeEncodeError as error:
        raise NotSendable("a text with lone surrogates cannot be sent") from error
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise NotSendable(f"it cannot be sent: {error}") from error


def unpack(data: bytes, limit: int | None = None) -> Any:
    """
    Return the value of `data`. Raises ValueError if it is no whole value, or longer than `limit` bytes.

    Any bytes are safe to decode: they raise no other error, run no code, and take memory in proportion to their length.
    """
    if limit is not None and len(data) > limit:
        raise ValueError(f"{len(data)} bytes are more than the limit of {limit}")
    return _unpack(data, 0)


def check_size(payload: bytes, limit: int, what: str) -> bytes:
    """Return `payload` if it is at most `limit` bytes long. Raises PayloadTooLarge."""
    if len(payload) > limit:
        raise PayloadTooLarge(
            f"{what} takes {len(payload):,} bytes; the limit is {limit:,}. "
            "Store the data elsewhere and send its location."
        )
    return payload


# ---- calls of tasks ----


def encode_call(args: list[Any], kwargs: dict[str, Any]) -> bytes:
    """Return the payload of one call of a task. Raises NotSendable."""
    return pack([args, kwargs]) if args or kwargs else EMPTY_CALL


def decode_call(payload: bytes, limit: int | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs) of a payload. Raises ValueError if it is not the payload of a call."""
    if payload == EMPTY_CALL:
        return (), {}
    call = unpack(payload, limit)
    if not _is_call(call):
        raise ValueError("not the payload of a call")
    return tuple(call[0]), call[1]


def _is_call(call: Any) -> TypeGuard[tuple[list[Any], dict[str, Any]]]:
    return type(call) is list and len(call) == 2 and type(call[0]) is list and type(call[1]) is dict  # pyright: ignore[reportUnknownArgumentType]


class _Scalars:
    """
    Encodes calls whose arguments go by name and are of exactly the types str, int, float, bool and bytes.

    It uses one Packer for all of them, at half the cost of one for each: packing such values runs no other code.
    """

    def __init__(self) -> None:
        self._packer = _scalar_packer()

    def encode(self, arguments: dict[str, Any]) -> bytes | None:
        """As `encode_call([], arguments)`, or None: only `encode_call` has a form for it, or an error that says why."""
        try:
            payload = self._packer.pack([_NOTHING, arguments])
        except (ValueError, OverflowError):  # a lone surrogate, a text of 4 GiB; an integer beyond 64 bits
            return None
        if len(payload) > _LARGE:
            self._packer = _scalar_packer()  # the old one keeps a buffer as large as this
        return payload


def _scalar_packer() -> Packer:
    return Packer(strict_types=True, buf_size=1024)


_NOTHING: list[Any] = []
_LARGE = 64 * 1024
encode_scalars = _Scalars().encode


# ---- errors, progress, meta ----


def encode_error(type: str, message: str, traceback: str = "") -> bytes:
    """Return the stored form of an error: plain text, each part cut; of a traceback the end is kept."""
    return pack([cut(type), cut(message), cut(traceback, keep_end=True)])


def decode_error(data: bytes) -> tuple[str, str, str]:
    """Return (type, message, traceback) of a stored error. Raises ValueError if it is not one."""
    match unpack(data):
        case [str(type), str(message), str(traceback)]:
            return type, message, traceback
        case _:
            raise ValueError("not a stored error")


def encode_progress(done: int, total: int | None, note: str) -> bytes:
    """Return the stored form of a progress; its note is cut. Raises InvalidArguments, naming the part."""
    parts: list[tuple[str, object, type[Any]]] = [("done", done, int), ("total", total, int), ("note", note, str)]
    for name, value, kind in parts:
        if not isinstance(value, kind) and not (name == "total" and value is None):
            raise InvalidArguments(
                f"{name!r} of a progress is {kind.__name__}, not {type(value).__name__}.", parameter=name
            )
    return pack([done, total, cut(note)])


def decode_progress(data: bytes) -> tuple[int, int | None, str]:
    """Return (done, total, note) of a stored progress. Raises ValueError if it is not one."""
    match unpack(data):
        case [int() as done, int() | None as total, str(note)]:
            return done, total, note
        case _:
            raise ValueError("not a stored progress")


def decode_meta(data: bytes) -> dict[str, str]:
    """Return the texts that were sent along with a job, by name. Raises ValueError if the data holds anything else."""
    meta = cast("dict[Any, Any]", unpack(data)) if data else {}
    if type(meta) is dict and all(type(name) is type(text) is str for name, text in meta.items()):
        return meta
    raise ValueError("not the meta of a job")


def encodable(text: str) -> str:
    """Return `text` with a question mark for each lone surrogate, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def cut(text: str, *, keep_end: bool = False) -> str:
    """Return the first part of `text`, or the last one, that is at most MAX_TEXT bytes long, `encodable`."""
    data = text.encode("utf-8", "replace")
    kept = data[-MAX_TEXT:] if keep_end else data[:MAX_TEXT]
    return kept.decode("utf-8", "ignore")


# ---- msgpack, with a bound on nesting ----


def _pack(value: Any, nesting: int) -> bytes:
    if nesting > MAX_NESTING:
        raise NotSendable(f"it cannot be sent: tuples or sets nested more than {MAX_NESTING} deep")
    # A new Packer each time, as in packb: a Packer is not re-entrant, and an extension packs its parts.
    return Packer(default=_WRAP[nesting], strict_types=True, buf_size=1024).pack(value)


def _wrap(nesting: int, value: Any) -> Any:
    """Return a form of `value` that msgpack has: its hook for all other types."""
    form = _form_of(value, partial(_pack, nesting=nesting + 1))
    if form is _UNKNOWN:
        raise NotSendable(f"a {type(value).__module__}.{type(value).__qualname__} cannot be sent")
    return form


def _unpack(data: bytes, nesting: int) -> Any:
    if nesting > MAX_NESTING:
        raise ValueError("nested too deeply")
    try:
        return unpackb(data, ext_hook=_UNWRAP[nesting], strict_map_key=False, timestamp=3)
    except (TypeError, ArithmeticError, MemoryError, RecursionError) as error:
        # An unhashable key, a time beyond the year 9999, a list whose stated length exceeds the memory.
        raise ValueError(f"malformed: {error}") from error


def _unwrap(nesting: int, code: int, data: bytes) -> Any:
    """Return the value of an extension. Raises ValueError if there is none of that code, or it is malformed."""
    extension = _BY_CODE.get(code)
    if extension is None:
        raise ValueError(f"unknown extension {code}")
    try:
        return extension.decode(data, partial(_unpack, nesting=nesting + 1))
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"malformed extension {code}") from error


# One hook for each depth: each has its depth as an argument, so that threads share no state.
_WRAP = [partial(_wrap, nesting) for nesting in range(MAX_NESTING + 1)]
_UNWRAP = [partial(_unwrap, nesting) for nesting in range(MAX_NESTING + 1)]


# ---- types that msgpack lacks ----

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]

_UNKNOWN = object()
"""The result of `_form_of` for a value that has no form."""


@dataclass(frozen=True, slots=True)
class ExtensionType:
    """How one type travels. `encode` and `decode` are given a function that packs or unpacks the values inside."""

    code: int
    encode: Callable[[Any, Pack], bytes]
    decode: Callable[[bytes, Unpack], Any]


def _form_of(value: Any, pack: Pack) -> Any:
    """Return a form of `value` that msgpack has, or _UNKNOWN."""
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
    return _UNKNOWN


def _plain_value(value: Any, pack: Pack) -> Any:
    """Return a form of an enum's value. msgpack calls its hook only once, so the value is wrapped here if need be."""
    if type(value) is int:
        return _plain_int(value)
    return value if type(value) in _NATIVE else _form_of(value, pack)


def _plain_int(value: int) -> Any:
    """Return a subclass of int as an int, and an int beyond 64 bits as an extension. msgpack has all others."""
    return int(value) if -(2**63) <= value < 2**64 else ExtType(_BIG_INT, _encode_int(value, bytes))


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


_NATIVE = frozenset({str, bytes, float, bool, type(None), list, dict})
_BIG_INT = 4
# A subclass stands before its base: a datetime is a date.
_EXTENSIONS: dict[type[Any], ExtensionType] = {
    tuple: ExtensionType(1, lambda value, pack: pack(list(value)), lambda data, unpack: tuple(_list_of(data, unpack))),
    set: ExtensionType(2, _encode_sorted, lambda data, unpack: set(_decode_sorted(data, unpack))),
    frozenset: ExtensionType(3, _encode_sorted, lambda data, unpack: frozenset(_decode_sorted(data, unpack))),
    datetime: ExtensionType(5, _encode_iso, lambda data, _: datetime.fromisoformat(data.decode())),
    date: ExtensionType(6, _encode_iso, lambda data, _: date.fromisoformat(data.decode())),
    time: ExtensionType(7, _encode_iso, lambda data, _: time.fromisoformat(data.decode())),
    timedelta: ExtensionType(8, _encode_timedelta, lambda data, unpack: timedelta(*_list_of(data, unpack))),
    UUID: ExtensionType(9, lambda value, _: value.bytes, lambda data, _: UUID(bytes=data)),
    Decimal: ExtensionType(10, _encode_text, lambda data, _: Decimal(data.decode())),
}
_BY_CODE = {extension.code: extension for extension in _EXTENSIONS.values()} | {
    _BIG_INT: ExtensionType(_BIG_INT, _encode_int, lambda data, _: int.from_bytes(data, "big", signed=True))
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
    # The base of all URLs with several hosts (PostgresDsn and its like) is not public.
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


# ---- constants made by the codec ----

NONE = pack(None)
"""The bytes of None."""
EMPTY_CALL = pack([[], {}])
"""The payload of a call without arguments."""
