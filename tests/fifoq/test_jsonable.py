"""Every stored value has a JSON form: valid for strict parsers, bounded in depth, reduced where JSON lacks one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fifoq import codec
from fifoq.jsonable import MARKER, MAX_DEPTH, bounded_json, to_json
from tests.stored_values import LARGE, parse, storable, values


@given(values)
def test_every_value_that_the_codec_stores_is_json_for_a_strict_parser(value: Any) -> None:
    assume(storable(value))
    stored = codec.unpack(codec.pack(value))
    assert to_json(stored) == to_json(codec.unpack(codec.pack(value)))
    parse(to_json(stored))


@given(st.recursive(st.none() | st.booleans() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.integers(-(2**1000), 2**1000),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_values_that_json_has_are_shown_as_they_are(value: Any) -> None:
    assume(MARKER not in repr(value) and storable(value))
    assert parse(to_json(value)) == value


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"\x89PNG", "iVBORw=="),
        (b"\xfb\xff", "-_8="),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (datetime(2026, 12, 1, 8, tzinfo=UTC), "2026-12-01T08:00:00Z"),
        (timedelta(minutes=1.5), 90.0),
        (Decimal("1.10"), "1.10"),
        ({3, 1, 2}, [1, 2, 3]),
        ((1, "a"), [1, "a"]),
        ({1: "a", None: "b", True and 1.5: "c"}, {"1": "a", "null": "b", "1.5": "c"}),
        ({1: "a", "1": "b"}, {MARKER: "pairs", "items": [[1, "a"], ["1", "b"]]}),
        ({(1,): "a"}, {MARKER: "pairs", "items": [[[1], "a"]]}),
        ({MARKER: "too deep"}, {MARKER: "pairs", "items": [[MARKER, "too deep"]]}),
        ({"\ud800": 1}, {"?": 1}),
        (dict(zip(("\ud800", "\ud801"), (1, 2), strict=True)), {MARKER: "pairs", "items": [["?", 1], ["?", 2]]}),
        (2**64, 2**64),
        (-(2**1024), {MARKER: "integer", "hex": hex(-(2**1024))}),
        (object(), {MARKER: "unreadable"}),
    ],
)
def test_values_that_json_lacks_have_the_documented_form(value: Any, form: Any) -> None:
    assert parse(to_json(value)) == form
    assert parse(to_json([value])) == [form]


@pytest.mark.parametrize("kind", [lambda inside: [inside], lambda inside: {"a": inside}, lambda inside: ({}, inside)])
def test_nesting_is_shown_up_to_the_limit_and_has_a_marker_beyond(kind: Any) -> None:
    value: Any = "inside"
    for _ in range(MAX_DEPTH):
        value = kind(value)
    assert [word in to_json(value) for word in ("inside", "too deep")] == [True, False]
    assert [word in to_json(kind(value)) for word in ("inside", "too deep")] == [False, True]


@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_arguments_are_shown_within_a_limit_of_bytes(value: Any) -> None:
    for arguments in ([value], {"small": 1, "large": {"larger": value}}):
        text = bounded_json(arguments, 65_536)
        assert len(text.encode()) <= 65_536
        assert type(parse(text)) is type(arguments)
    assert parse(text)["small"] == 1


@pytest.mark.parametrize("limit", [64, 1000, 65_536])
@pytest.mark.parametrize("arguments", [[1] * 40_000, {str(number): "" for number in range(9_000)}, [["\x02" * 30_000]]])
def test_many_small_arguments_are_bounded_too(arguments: Any, limit: int) -> None:
    text = bounded_json(arguments, limit)
    assert len(text.encode()) <= limit
    assert type(parse(text)) is type(arguments)


def test_small_arguments_are_shown_whole() -> None:
    assert bounded_json({"a": [1, 2]}, 100) == '{"a":[1,2]}'
    assert bounded_json([], 100) == "[]"
