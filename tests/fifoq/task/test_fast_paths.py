"""A fast path has the result of the long way, or declines: the same bytes, values and errors with and without it."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator

from fifoq.errors import FifoqError, InvalidArguments
from fifoq.task.signature import Signature

SURROGATE = "caf\udce9.txt"
exact = (
    st.text(st.characters(), max_size=5)
    | st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2)
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.booleans()
    | st.binary(max_size=5)
)


def text(first: str, second: str = "x") -> None: ...
def number(first: int, second: float = 0.5) -> None: ...
def bytes_and_bool(first: bytes, second: bool) -> None: ...
def optional(first: str | None, second: list[str] | None = None) -> None: ...
def extra(first: str, *rest: str, **others: str) -> None: ...
def nothing() -> None: ...


FUNCTIONS = [text, number, bytes_and_bool, optional, extra, nothing]


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return repr(call())
    except FifoqError as error:
        return type(error), str(error), getattr(error, "parameter", None)


def slow(function: Callable[..., Any], *, fast: bool = False) -> Signature:
    """A signature without its shortest path, or without any fast path."""
    signature = Signature(function)
    shape = signature.resolve().shape
    signature._exact = shape.exact = None
    shape.is_fast = shape.is_fast and fast
    return signature


@settings(deadline=None)
@given(st.sampled_from(FUNCTIONS), st.lists(exact, max_size=3), st.dictionaries(st.just("second"), exact))
@example(text, [SURROGATE, "x"], {})
@example(text, ["x", SURROGATE], {})
@example(text, ["x" * 300_000, "x"], {})
@example(number, [2**64, 1.0], {})
@example(extra, ["x", SURROGATE], {SURROGATE: "x"})
def test_a_call_is_encoded_alike_on_every_path(
    function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
) -> None:
    signatures = [Signature(function), slow(function, fast=True), slow(function)]
    for signature in signatures:
        signature.resolve()
    first, *others = [outcome(lambda: each.encode(tuple(args), kwargs)) for each in signatures]  # noqa: B023
    assert others == [first, first]


@settings(deadline=None)
@given(st.sampled_from(FUNCTIONS), st.lists(exact, max_size=3), st.sampled_from(FUNCTIONS))
@example(extra, ["x"], nothing)
def test_a_payload_is_decoded_alike_on_every_path(
    sender: Callable[..., Any], args: list[Any], receiver: Callable[..., Any]
) -> None:
    try:
        payload = slow(sender).encode(tuple(args), {}).payload
    except InvalidArguments:
        return
    assert outcome(lambda: Signature(receiver).decode(payload)) == outcome(lambda: slow(receiver).decode(payload))


@pytest.mark.parametrize("function", FUNCTIONS[:5])
def test_a_lone_surrogate_is_refused_with_its_parameter(function: Callable[..., Any]) -> None:
    signature = Signature(function)
    signature.resolve()
    if function in (text, optional, extra):
        with pytest.raises(InvalidArguments) as caught:
            signature.encode((SURROGATE, "x") if function is text else (SURROGATE,), {})
        assert caught.value.parameter == "first"


@pytest.mark.parametrize("error", [KeyError, RuntimeError, ZeroDivisionError, UnicodeError, RecursionError])
@pytest.mark.parametrize("inside", [False, True])
def test_every_error_of_a_validator_is_invalid_arguments_with_the_parameter(
    error: type[Exception], inside: bool
) -> None:
    failing = True

    def check(value: str) -> str:
        if failing:
            raise error("hunter2")
        return value

    def task(first: int, value): ...

    kind: Any = Annotated[str, AfterValidator(check)]
    task.__annotations__["value"] = task.__annotations__["return"] = list[kind] if inside else kind
    value: Any = ["x"] if inside else "x"
    signature = Signature(task)
    with pytest.raises(InvalidArguments) as caught:
        signature.encode((1, value), {})
    assert caught.value.parameter == "value"
    with pytest.raises(InvalidArguments):
        signature.encode_result(value)
    failing = False
    payload, result = signature.encode((1, value), {}).payload, signature.encode_result(value)
    failing = True
    with pytest.raises(InvalidArguments):
        signature.decode(payload)
    with pytest.raises(InvalidArguments):
        signature.decode_result(result)
