"""
The codec: values as bytes. msgpack, with the types of Python that it lacks; decoding imports and calls no user code.

The same value always gives the same bytes (sets are sorted), so that a repeated put can be distinguished from a
conflicting one. Every value is decoded with its type, except that an enum becomes its value, and paths, addresses and
URLs become text: the task's signature rebuilds those.
"""

import ipaddress
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, TypeGuard, cast
from uuid import UUID
from zoneinfo import ZoneInfo

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


def pack_exact(value: Any) -> bytes | None:
    """
    Return the bytes of `value` if it is decoded to the same, class by class; None if a part of it is of another class.

    Such parts are instances of subclasses, enums, and all that travels as text. Raises NotSendable as `pack` does.
    """
    try:
        data = _pack(value, 0, _WRAP_EXACT)
    except _Inexact:
        return None
    except (ValueError, OverflowError, TypeError, RecursionError):
        return pack(value)  # which names the error
    # msgpack takes all kinds of bytes without asking the hook. Looking for their marks first is nearly free.
    if (b"\xc4" in data or b"\xc5" in data or b"\xc6" in data) and _holds_mutable_bytes(value):
        return None
    return data


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


def _pack(value: Any, nesting: int, hooks: "Hooks | None" = None) -> bytes:
    if nesting > MAX_NESTING:
        raise NotSendable(f"it cannot be sent: tuples or sets nested more than {MAX_NESTING} deep")
    # A new Packer each time, as in packb: a Packer is not re-entrant, and an extension packs its parts.
    return Packer(default=(hooks or _WRAP)[nesting], strict_types=True, buf_size=1024).pack(value)


def _wrap(nesting: int, value: Any) -> Any:
    """Return a form of `value` that msgpack has: its hook for all other types."""
    form = _form_of(value, partial(_pack, nesting=nesting + 1))
    if form is _UNKNOWN:
        raise NotSendable(f"a {type(value).__module__}.{type(value).__qualname__} cannot be sent")
    return form


class _Inexact(Exception):
    """A part of a value would be decoded to another class."""


def _holds_mutable_bytes(value: Any) -> bool:
    kind = cast("type[Any]", type(value))
    if kind is dict:
        return any(map(_holds_mutable_bytes, value)) or any(map(_holds_mutable_bytes, value.values()))
    if kind in (list, tuple, set, frozenset):
        return any(map(_holds_mutable_bytes, value))
    return kind in (bytearray, memoryview)


def _wrap_exact(nesting: int, value: Any) -> Any:
    """As `_wrap`, for values of exactly the types that are decoded. Raises _Inexact."""
    kind = cast("type[Any]", type(value))
    extension = _EXTENSIONS.get(kind)
    if extension is not None:
        return ExtType(extension.code, extension.encode(value, partial(_pack, nesting=nesting + 1, hooks=_WRAP_EXACT)))
    if kind is int:
        return _plain_int(value)
    raise _Inexact


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
Hooks = list[Callable[[Any], Any]]
_WRAP: Hooks = [partial(_wrap, nesting) for nesting in range(MAX_NESTING + 1)]
_WRAP_EXACT: Hooks = [partial(_wrap_exact, nesting) for nesting in range(MAX_NESTING + 1)]
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
            data = extension.encode(value, pack)
            if kind not in _CONTAINERS and not extension.decode(data, unpack) == value:  # a time with nanoseconds
                raise NotSendable(f"a {type(value).__name__} would arrive changed, as a {kind.__name__}")
            return ExtType(extension.code, data)
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


def _encode_date(value: date, _: Pack) -> bytes:
    return value.isoformat().encode()


def _encode_time(value: datetime | time, _: Pack) -> bytes:
    text, zone = value.isoformat(), value.tzinfo
    if value.fold:
        text += _FOLD
    if zone is not None and zone is not UTC:
        text += _zone_as_text(zone)
    return text.encode()


def _zone_as_text(zone: tzinfo) -> str:
    """Return the part of a zone that an offset does not say: its key, or the name of a fixed offset."""
    key = str(zone.key) if isinstance(zone, ZoneInfo) else ""  # "None" if it was read from a file
    if _ZONE_KEY.fullmatch(key) and key != "None":
        return f"[{key}]"
    offset = zone.utcoffset(None)
    if offset is None:
        raise NotSendable(
            f"its zone, a {type(zone).__module__}.{type(zone).__qualname__}, would arrive as an offset: use "
            "zoneinfo.ZoneInfo with a key, or UTC"
        )
    if type(zone) is not timezone or zone.tzname(None) == timezone(offset).tzname(None):
        return ""
    return f"({zone.tzname(None)})"


def _decode_time(kind: type[Any]) -> Callable[[bytes, Unpack], Any]:
    def decode(data: bytes, _: Unpack) -> Any:
        text = data.decode()
        if text[-1:] not in _MARKS:
            return kind.fromisoformat(text)
        match = _MARKED_TIME.fullmatch(text)
        if match is None:
            raise ValueError("a malformed time")
        value = kind.fromisoformat(match["iso"]).replace(fold=1 if match["fold"] else 0)
        if match["key"]:
            return _in_zone(value, match["key"])
        return value.replace(tzinfo=timezone(value.utcoffset(), match["name"])) if match["name"] is not None else value

    return decode


def _in_zone(value: Any, key: str) -> Any:
    try:
        zone = ZoneInfo(key)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError(f"the time zone {key} is not known here: install the package tzdata") from error
    there = value.replace(tzinfo=zone)
    if value.tzinfo is None or there.utcoffset() == value.utcoffset():
        return there
    if not isinstance(value, datetime):
        raise ValueError("a time of day with both a zone and an offset")
    return value.astimezone(zone)  # the rules of the zone are others here: the moment counts


def _encode_timedelta(value: timedelta, pack: Pack) -> bytes:
    return pack([value.days, value.seconds, value.microseconds])


_FOLD = "~"
"""Marks the second of two times that read the same when clocks are set back."""
_MARKS = ("~", "]", ")")
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")
"""A key of the IANA database. Decoding reads no other file."""
_MARKED_TIME = re.compile(
    rf"(?P<iso>[^~\[(]+)(?P<fold>~?)(\[(?P<key>{_ZONE_KEY.pattern})\]|\((?P<name>.*)\))?", re.DOTALL
)
_CONTAINERS = (tuple, set, frozenset)
_NATIVE = frozenset({str, bytes, float, bool, type(None), list, dict})
_BIG_INT = 4
# A subclass stands before its base: a datetime is a date.
_EXTENSIONS: dict[type[Any], ExtensionType] = {
    tuple: ExtensionType(1, lambda value, pack: pack(list(value)), lambda data, unpack: tuple(_list_of(data, unpack))),
    set: ExtensionType(2, _encode_sorted, lambda data, unpack: set(_decode_sorted(data, unpack))),
    frozenset: ExtensionType(3, _encode_sorted, lambda data, unpack: frozenset(_decode_sorted(data, unpack))),
    datetime: ExtensionType(5, _encode_time, _decode_time(datetime)),
    date: ExtensionType(6, _encode_date, lambda data, _: date.fromisoformat(data.decode())),
    time: ExtensionType(7, _encode_time, _decode_time(time)),
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
