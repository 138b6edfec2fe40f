"""The codec: a value is decoded with its type, the same value gives the same bytes, and no bytes do harm."""

import contextlib
import tracemalloc
from collections import deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import ip_address
from pathlib import PurePosixPath
from uuid import UUID

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import AnyUrl, PostgresDsn, SecretStr

from fifoq import codec
from fifoq.codec import NotSendable, pack, unpack
from fifoq.errors import PayloadTooLarge

zones = (
    st.sampled_from([None, UTC, timezone(timedelta(hours=5, seconds=7)), timezone(timedelta(hours=1), "C[E](T)~\n")])
    | st.timezones()
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=zones)
    | st.dates()
    | st.times(timezones=zones)
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc"), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Whether they are equal and of the same types all through (1, 1.0 and True are equal too)."""
    if isinstance(left, datetime | time):  # ==: another zone is equal, an hour that comes twice is not
        return type(left) is type(right) and (repr(left), left.tzname()) == (repr(right), right.tzname())
    return type(left) is type(right) and left == right and sorted(repr(left)) == sorted(repr(right))


@given(values)
def test_a_value_comes_back_with_its_type(value: object) -> None:
    assert same(unpack(pack(value)), value)


@given(st.sets(hashable))
def test_equal_sets_give_equal_bytes(value: set[object]) -> None:
    one, other = (set[object]() for _ in range(2))
    for item in sorted(value, key=repr):
        one.add(item)
    for item in sorted(value, key=repr, reverse=True):
        other.add(item)
    assert pack(one) == pack(other)


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400])
def test_an_integer_beyond_64_bits_comes_back(number: int) -> None:
    assert unpack(pack(number)) == number


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 2**70


class Word(StrEnum):
    YES = "yes"


class Pair(Enum):
    HERE = (1, Decimal(2))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 2**70),
        (Word.YES, "yes"),
        (Pair.HERE, (1, Decimal(2))),
        (deque([1]), [1]),
        (bytearray(b"x"), b"x"),
        (PurePosixPath("/a"), "/a"),
        (ip_address("::1"), "::1"),
        (AnyUrl("http://a/"), "http://a/"),
        (PostgresDsn("postgres://u@h/d"), "postgres://u@h/d"),
        (type("Text", (str,), {})("x"), "x"),
        (type("Number", (int,), {})(7), 7),
    ],
)
def test_a_value_without_a_type_of_its_own_becomes_plain(value: object, plain: object) -> None:
    assert same(unpack(pack(value)), plain)


def nested(kind: type, depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = kind([value])
    return value


cyclic: list[object] = []
cyclic.append(cyclic)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        lambda: 1,
        "\ud800",
        {"a": ["\udfff"]},
        1j,
        SecretStr("x"),
        nested(list, 1_100),
        nested(tuple, 50),
        cyclic,
    ],
)
def test_a_value_that_cannot_be_sent_is_not_sendable(value: object) -> None:
    with pytest.raises(NotSendable):
        pack(value)


def test_an_open_file_is_not_sendable() -> None:
    with open(__file__) as file, pytest.raises(NotSendable, match="TextIOWrapper cannot be sent"):
        pack([file])


def test_an_empty_call_is_recognised() -> None:
    assert codec.encode_call([], {}) == codec.EMPTY_CALL == b"\x92\x90\x80"
    assert codec.decode_call(codec.EMPTY_CALL) == ((), {})


@given(st.binary())
@example(pack([1]) * 2)
@example(msgpack.packb({(1, 2): 3}))
@example(msgpack.packb([[], {1: 2}]))
def test_no_bytes_raise_anything_but_a_value_error(data: bytes) -> None:
    for decode in (unpack, codec.decode_call, codec.decode_error, codec.decode_progress, codec.decode_meta):
        with contextlib.suppress(ValueError):
            decode(data)


@given(st.integers(-128, 127), st.binary(), st.integers(0, 40))
@example(-1, b"\xff" * 12, 0)
@example(1, msgpack.packb("abc"), 0)
@example(2, msgpack.packb([msgpack.packb([])]), 0)
@example(8, msgpack.packb([10**18]), 0)
@example(5, b"\xff", 0)
@example(10, b"many", 0)
def test_no_extension_raises_anything_but_a_value_error(code: int, data: bytes, depth: int) -> None:
    for _ in range(depth):
        data = msgpack.packb([msgpack.ExtType(1, data)])
    try:
        unpack(msgpack.packb(msgpack.ExtType(code, data) if code >= 0 else [data]))
        unpack(b"\xc7" + bytes([len(data) % 256, code % 256]) + data)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\x90\x01",
        b"\x91" * 5_000,
        b"\xa1\xff",
    ],
    ids=["empty", "never used", "long list", "long map", "long bytes", "list as a key", "deep", "no UTF-8"],
)
def test_malformed_bytes_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any kind of it: that is the promise
        unpack(data)


def test_deeply_nested_extensions_are_a_value_error() -> None:
    data = b"\x01"
    for _ in range(2_000):
        data = msgpack.packb(msgpack.ExtType(1, data))
    with pytest.raises(ValueError, match="nested too deeply"):
        unpack(data)


def test_bytes_beyond_the_limit_are_refused_unread() -> None:
    with pytest.raises(ValueError, match="more than the limit"):
        unpack(b"\xc1" * 11, limit=10)


def test_lists_that_claim_to_be_long_take_no_memory_to_refuse() -> None:
    claim = b"\xdd" + (200_000).to_bytes(4, "big")
    tracemalloc.start()
    with pytest.raises(ValueError):  # noqa: PT011  # any kind of it: that is the promise
        unpack(claim * 40 + b"\x01" * 200_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20


def test_an_error_is_cut_and_keeps_the_end_of_its_traceback() -> None:
    type_, message, traceback = codec.decode_error(codec.encode_error("E", "m" * 9_000, "start" + "é" * 5_000 + "end"))
    assert (type_, len(message)) == ("E", codec.MAX_TEXT)
    assert traceback.endswith("end")
    assert len(traceback.encode()) <= codec.MAX_TEXT


def test_an_error_with_lone_surrogates_is_stored_all_the_same() -> None:
    assert codec.decode_error(codec.encode_error("E", "\ud800"))[1] == "?"


def test_the_note_of_a_progress_is_cut() -> None:
    done, total, note = codec.decode_progress(codec.encode_progress(1, 2, "é" * 5_000))
    assert (done, total, note) == (1, 2, "é" * (codec.MAX_TEXT // 2))


def test_progress_and_meta_come_back() -> None:
    assert codec.decode_progress(codec.encode_progress(1, None, "n")) == (1, None, "n")
    assert codec.decode_meta(pack({"a": "b"})) == {"a": "b"}
    assert codec.decode_meta(b"") == {}


def test_a_payload_beyond_the_limit_is_refused_with_both_sizes() -> None:
    assert codec.check_size(b"x" * 10, 10, "It") == b"x" * 10
    with pytest.raises(PayloadTooLarge, match="It takes 11 bytes; the limit is 10"):
        codec.check_size(b"x" * 11, 10, "It")


def test_a_uuid_takes_its_sixteen_bytes() -> None:
    assert len(pack(UUID(int=1))) == 18


def test_a_date_is_not_taken_for_a_time() -> None:
    for value in (date(2026, 1, 1), datetime(2026, 1, 1), time(1), Decimal("1.10")):
        assert same(unpack(pack(value)), value)


@pytest.mark.parametrize("value", ["m1", "", 3, -(2**63), 2**64, 2**200, 1.5, float("inf"), True, b"x", "a" * 200_000])
def test_scalars_have_the_bytes_of_any_call(value: object) -> None:
    for _ in range(2):
        encoded = codec.encode_scalars({"a": 1, "b": value})
        if encoded is None:  # it declines
            assert isinstance(value, int)
        else:
            assert encoded == codec.encode_call([], {"a": 1, "b": value})


def test_scalars_that_cannot_be_sent_are_declined_and_leave_nothing_behind() -> None:
    assert codec.encode_scalars({"a": "m1", "b": "\ud800"}) is None
    assert codec.encode_scalars({"a": 1}) == codec.encode_call([], {"a": 1})
