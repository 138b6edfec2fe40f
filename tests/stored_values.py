"""Strategies for all values that the codec can store, and a strict parser for the JSON that shows them."""

import json
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from fifoq import codec

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**4000, -(10**4000)])
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5, seconds=7))))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.sampled_from(["$fifoq", "\x00", "\x01" * 99, "\u2028\x85", b"\x89PNG", Decimal("NaN"), ""])
)
keys = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
texts = st.sampled_from(["", "a", "1", "true", "None", "null", "$fifoq"]) | st.text("ab", max_size=2)
_wide = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts | keys, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(keys, max_size=4)
    ),
    max_leaves=10,
)


def _nested(inside: Any, kinds: list[str], times: int) -> Any:
    for number in range(times):
        match kinds[number % len(kinds)]:
            case "list":
                inside = [inside]
            case "dict":
                inside = {"a": inside}
            case "pairs":
                inside = {(1,): inside}
            case _:
                inside = [1, inside, "b"]
    return inside


values = _wide | st.builds(
    _nested,
    _wide,
    st.lists(st.sampled_from(["list", "dict", "pairs", "wide"]), min_size=1, max_size=4),
    st.integers(0, 70) | st.sampled_from([49, 50, 51, 100, 300, 500]),
)
"""Values of every type that the codec has, nested in each other up to and beyond every limit."""

LARGE: list[Any] = [
    "\x01" * 262_000,
    [[]] * 130_000,
    [None] * 260_000,
    ["", 1.5, b""] * 60_000,
    {str(number): [number] for number in range(20_000)},
    {number: {number} for number in range(9_000)},
    b"\xff" * 260_000,
    2 ** (8 * 200_000),
]
"""Values near the limit of a payload, of many shapes."""


def storable(value: Any) -> bool:
    """Whether the codec stores `value` within the limit, and reads it again."""
    try:
        data = codec.pack(value)
        codec.unpack(data)
    except (codec.NotSendable, ValueError):
        return False
    return len(data) <= codec.MAX_PAYLOAD - 100


def parse(text: bytes | str) -> Any:
    """Return the value of a JSON text. Refuses NaN, duplicate members, lone surrogates, and nesting beyond 64."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        assert len(members) == len(pairs), "a member twice"
        return members

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    value = json.loads(text, parse_constant=refuse, object_pairs_hook=distinct)
    _check(value, 1)
    return value


def _check(value: Any, level: int) -> None:
    assert level <= 64 or not isinstance(value, list | dict), "nested too deeply for other parsers"
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for item in value:
            _check(item, level + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode()
            _check(item, level + 1)
