"""Arguments and results: checked at enqueue, the same bytes for the same call, rebuilt with their types."""

import dataclasses
import enum
import io
import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Unpack
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, Field, HttpUrl, Json, PlainSerializer, SecretStr
from typing_extensions import TypedDict

from fifoq import codec
from fifoq.codec import EMPTY_CALL
from fifoq.errors import ConfigurationError, InvalidArguments, PayloadTooLarge
from fifoq.task.signature import Signature


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Point(BaseModel):
    x: int
    y: int = 0


class Pixel(BaseModel):
    x: int
    y: int = 0


class Aliased(BaseModel):
    inner: int = Field(alias="outerName")
    point: Point = Field(default=Point(x=0), serialization_alias="somewhereElse")


class Deep(Point):
    z: int = 0


@dataclasses.dataclass
class Move:
    game: str
    at: datetime
    point: Point


class Pair(NamedTuple):
    left: Point
    right: Decimal


class Doc(TypedDict, total=False):
    when: datetime
    points: list[Point]


class Node(BaseModel):
    children: list["Node"] = []


def round_trip(annotation: Any, value: Any) -> Any:
    def task(value): ...

    task.__annotations__ = {"value": annotation}
    signature = Signature(task)
    args, kwargs = signature.decode(signature.encode((value,), {}).payload)
    assert args == ()
    return kwargs["value"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "x"),
        (int, 2**200),
        (float, float("inf")),
        (bytes, b"\x00\xff"),
        (bool, True),
        (datetime, datetime(2026, 1, 2, 3, 4, 5, 6, UTC)),
        (date, date(2026, 1, 2)),
        (time, time(1, 2)),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (UUID, UUID(int=7)),
        (Decimal, Decimal("1.10")),
        (Colour, Colour.RED),
        (Level, Level.LOW),
        (Point, Point(x=1, y=2)),
        (Aliased, Aliased(outerName=1)),
        (Move, Move("g", datetime(2026, 1, 1, tzinfo=UTC), Point(x=1))),
        (Pair, Pair(Point(x=1), Decimal(3))),
        (Doc, Doc(when=datetime(2026, 1, 1, tzinfo=UTC), points=[Point(x=1)])),
        (list[Point], [Point(x=1), Point(x=2)]),
        (dict[UUID, Colour], {UUID(int=1): Colour.BLUE}),
        (set[Colour], {Colour.BLUE, Colour.RED}),
        (frozenset[date], frozenset({date(2026, 1, 1)})),
        (tuple[int, Point], (1, Point(x=1))),
        (tuple[bytes, ...], (b"a", b"b")),
        (deque[int], deque([1, 2])),
        (Sequence[int], [1, 2]),
        (Mapping[str, Point], {"a": Point(x=1)}),
        (Point | None, None),
        (Point | None, Point(x=1)),
        (int | str, "1"),
        (Literal["a", 1], 1),
        (Annotated[int, Field(ge=1)], 3),
        (Path, Path("/a/b")),
        (HttpUrl, HttpUrl("https://example.org/")),
        (ipaddress.IPv4Address, ipaddress.ip_address("1.2.3.4")),
        (Json[list[int]], [1, 2]),
        (Node, Node(children=[Node()])),
        (Any, {"a": [1, None, b"x"]}),
        (Any, UUID(int=3)),
        (object, (1, 2)),
        (type(None), None),
    ],
)
def test_a_value_arrives_with_its_type(annotation: Any, value: Any) -> None:
    sent = "[1,2]" if annotation == Json[list[int]] else value
    arrived = round_trip(annotation, sent)
    assert arrived == value
    assert type(arrived) is type(value)


def play(match_id: str, tick: int, goals: int = 3, *, note: str = "") -> int:
    return tick


def test_positional_and_keyword_forms_of_a_call_give_the_same_bytes() -> None:
    signature = Signature(play)
    forms = [
        signature.encode(("m", 1, 3), {}),
        signature.encode(("m",), {"goals": 3, "tick": 1}),
        signature.encode((), {"note": "", "tick": 1, "match_id": "m"}),
        signature.encode(("m", "1"), {"goals": 3.0}),
    ]
    assert len({form.payload for form in forms}) == 1
    assert all(form.by_name == {"match_id": "m", "tick": 1, "goals": 3, "note": ""} for form in forms)
    assert codec.decode_call(forms[0].payload) == ((), {"match_id": "m", "tick": 1, "goals": 3, "note": ""})


def test_arguments_that_can_only_go_by_position_do() -> None:
    def positional(a: int, /, b: int, *, c: int = 3): ...
    def variadic(a: int, b: int = 2, *rest: Point, c: int = 3, **extra: Colour): ...

    first = Signature(positional)
    assert codec.decode_call(first.encode((1,), {"b": 2}).payload) == ((1,), {"b": 2, "c": 3})
    second = Signature(variadic)
    arguments = second.encode((1, 5, Point(x=1)), {"z": Colour.RED, "c": 4, "b_": "blue"})
    assert arguments.by_name == {
        "a": 1,
        "b": 5,
        "c": 4,
        "rest": (Point(x=1),),
        "extra": {"b_": Colour.BLUE, "z": Colour.RED},
    }
    assert second.decode(arguments.payload) == (
        (1, 5, Point(x=1)),
        {"c": 4, "b_": Colour.BLUE, "z": Colour.RED},
    )
    assert second.encode((), {"a": 1}).payload == second.encode((1, 2), {"c": 3}).payload
    assert second.encode((1,), {"x": "red", "w": "blue"}) == second.encode((1,), {"w": "blue", "x": "red"})


def test_an_extra_argument_may_have_the_name_of_a_positional_one() -> None:
    def odd(a: int, /, **extra: str): ...

    signature = Signature(odd)
    arguments = signature.encode((1,), {"a": "x"})
    assert signature.decode(arguments.payload) == ((1,), {"a": "x"})
    assert arguments.by_name == {"a": 1, "extra": {"a": "x"}}


def test_extra_arguments_may_be_a_typed_dict() -> None:
    def typed(**extra: Unpack[Doc]): ...

    signature = Signature(typed)
    arguments = signature.encode((), {"points": [{"x": 1}]})
    assert signature.decode(arguments.payload) == ((), {"points": [Point(x=1)]})
    with pytest.raises(InvalidArguments, match="points"):
        signature.encode((), {"points": 3})


def test_a_call_without_parameters_is_the_empty_call() -> None:
    def nothing() -> None: ...

    signature = Signature(nothing)
    assert signature.encode((), {}).payload is EMPTY_CALL
    assert signature.decode(EMPTY_CALL) == ((), {})
    with pytest.raises(InvalidArguments, match="Unexpected positional argument"):
        signature.encode((1,), {})


def test_defaults_are_filled_in_at_enqueue() -> None:
    def task(at: Annotated[int, Field(default_factory=lambda: 7)], name: str = "x"): ...

    signature = Signature(task)
    assert codec.decode_call(signature.encode((), {}).payload)[1] == {"at": 7, "name": "x"}


def test_a_default_of_none_makes_its_parameter_optional() -> None:
    def task(n: int = None): ...  # noqa: RUF013

    signature = Signature(task)
    assert signature.decode(signature.encode((), {}).payload) == ((), {"n": None})


def test_a_worker_fills_in_a_parameter_that_is_new_to_it() -> None:
    def old(a: int): ...
    def new(a: int, b: int = 2): ...

    assert Signature(new).decode(Signature(old).encode((1,), {}).payload) == ((), {"a": 1, "b": 2})
    with pytest.raises(InvalidArguments, match=r"b of old.*Unexpected keyword argument") as caught:
        Signature(old).decode(Signature(new).encode((1,), {}).payload)
    assert caught.value.parameter == "b"


@pytest.mark.parametrize(
    ("args", "kwargs", "parameter", "message"),
    [
        (("m", "one"), {}, "tick", "valid integer"),
        (("m",), {"tick": "one"}, "tick", "valid integer"),
        (("m",), {}, "tick", "Missing required argument"),
        (("m", 1), {"tick": 1}, "tick", "multiple values"),
        (("m", 1), {"colour": 1}, "colour", "Unexpected keyword argument"),
        (("m", 1, 2, 3), {}, None, "Unexpected positional argument"),
        (("\ud800", 1), {}, "match_id", "lone surrogates"),
        (("m", 1), {"note": object()}, "note", "valid string"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_parameter(args: Any, kwargs: Any, parameter: Any, message: str) -> None:
    with pytest.raises(InvalidArguments, match=message) as caught:
        Signature(play).encode(args, kwargs)
    assert caught.value.parameter == parameter
    assert "play" in str(caught.value)


def test_an_error_does_not_show_the_value() -> None:
    def task(token: int): ...

    with pytest.raises(InvalidArguments) as caught:
        Signature(task).encode(("hunter2",), {})
    assert "hunter2" not in str(caught.value)


def test_the_place_inside_a_parameter_is_named() -> None:
    def task(points: list[Point]): ...

    with pytest.raises(InvalidArguments, match=r"points\.1\.x of task: .*valid integer.* \(and 1 more\)") as caught:
        Signature(task).encode(([{"x": 1}, {"x": "a"}, {"x": "b"}],), {})
    assert caught.value.parameter == "points"


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


cyclic: list[Any] = []
cyclic.append(cyclic)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Any, io.StringIO()),
        (Any, lambda: 1),
        (Any, deep(2_000)),
        (Any, cyclic),
        (Any, "\ud800"),
        (list[str], ["a", "\ud800"]),
        (dict, {"a": {"b": object()}}),
        (list, [io.BytesIO()]),
        (SecretStr, "hidden"),
        (Callable[[], int], lambda: 1),
        (Iterable[int], iter([1, 2])),
        (Any, 1j),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_cannot_be_sent_is_refused_with_its_parameter(annotation: Any, value: Any) -> None:
    def task(first: int, value): ...

    task.__annotations__["value"] = annotation
    with pytest.raises(InvalidArguments) as caught:
        Signature(task).encode((1, value), {})
    assert caught.value.parameter == "value"


def shout(value: str) -> str:
    if value != value.lower():
        raise ValueError("must be lower case")
    return value.upper()


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Annotated[str, AfterValidator(shout)], "a", "must be lower case"),
        (Annotated[int, PlainSerializer(lambda _: "many")], 3, "valid integer"),
        (Point | Pixel, Pixel(x=1), "a Pixel would arrive as a Point"),
        (list[Point | Pixel], [Pixel(x=1)], "a Pixel would arrive as a Point"),
        (Point, Deep(x=1, z=3), "a Deep would arrive as a Point"),
        (Any, Point(x=1), "a Point would arrive as a dict"),
        (dict, {"a": Move("g", datetime.now(UTC), Point(x=1))}, "a Move would arrive as a dict"),
    ],
)
def test_a_value_that_could_not_be_rebuilt_is_refused_at_enqueue(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(InvalidArguments, match=message) as caught:
        round_trip(annotation, value)
    assert caught.value.parameter == "value"


def test_a_model_may_be_given_by_alias_or_by_name() -> None:
    assert round_trip(Aliased, {"outerName": 1}) == round_trip(Aliased, {"inner": 1}) == Aliased(outerName=1)


def test_a_parameter_may_have_an_alias() -> None:
    def task(a: Annotated[int, Field(alias="other")], b: int = Field(default=2, alias="more")): ...

    signature = Signature(task)
    assert signature.decode(signature.encode((1,), {}).payload) == ((), {"a": 1, "b": 2})
    assert signature.encode((), {"a": 1, "b": 2}) == signature.encode((), {"other": 1, "more": 2})


def test_a_payload_beyond_the_limit_is_refused() -> None:
    signature = Signature(play)
    signature.limit = 100
    assert len(signature.encode(("m" * 50, 1), {}).payload) <= 100
    with pytest.raises(PayloadTooLarge, match="A call of play takes"):
        signature.encode(("m" * 100, 1), {})
    large = Signature(play).encode(("m" * 100, 1), {}).payload
    with pytest.raises(InvalidArguments, match="more than the limit of 100"):
        signature.decode(large)


@pytest.mark.parametrize("payload", [b"", b"\xc1", codec.pack([1, 2]), codec.pack([[], {1: 2}]), codec.pack({})])
def test_a_malformed_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidArguments):
        Signature(play).decode(payload)


T = TypeVar("T", bound=int)


def later(value: "Later", other: "list[Later]") -> "Later":  # noqa: F821
    return value


def test_annotations_may_name_classes_defined_later() -> None:
    signature = Signature(later)
    globals()["Later"] = Point
    try:
        args = signature.encode(({"x": 1}, [{"x": 2}]), {})
        assert signature.decode(args.payload) == ((), {"value": Point(x=1), "other": [Point(x=2)]})
        assert signature.decode_result(signature.encode_result(Point(x=3))) == Point(x=3)
    finally:
        del globals()["Later"]


def test_an_annotation_that_cannot_be_resolved_is_a_configuration_error() -> None:
    def task(value: "Nowhere"): ...  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"annotation of 'value' in .*task cannot be resolved.*Nowhere"):
        Signature(task).resolve()


class Opaque:
    pass


def test_a_type_that_cannot_be_checked_is_a_configuration_error() -> None:
    def task(value: Opaque): ...

    with pytest.raises(ConfigurationError, match="'value' of task cannot be checked or sent"):
        Signature(task).resolve()


def test_type_variables_are_their_bounds() -> None:
    def task(value: T) -> T:
        return value

    signature = Signature(task)
    assert signature.decode(signature.encode(("5",), {}).payload) == ((), {"value": 5})


@pytest.mark.parametrize(
    ("annotation", "value", "arrived"),
    [
        (int, "5", 5),
        (None, None, None),
        (Point, Point(x=1), Point(x=1)),
        (Point, {"x": 1}, Point(x=1)),
        (list[datetime], [datetime(2026, 1, 1)], [datetime(2026, 1, 1)]),
        (Colour, Colour.RED, Colour.RED),
        (int, 2**90, 2**90),
        (Any, {1: (2,)}, {1: (2,)}),
    ],
)
def test_a_result_is_rebuilt_by_the_return_annotation(annotation: Any, value: Any, arrived: Any) -> None:
    def task(): ...

    task.__annotations__["return"] = annotation
    signature = Signature(task)
    result = signature.decode_result(signature.encode_result(value))
    assert result == arrived
    assert type(result) is type(arrived)


def test_a_result_without_annotation_is_sent_as_it_is() -> None:
    def task(): ...

    signature = Signature(task)
    assert signature.decode_result(signature.encode_result({"a": Decimal(1)})) == {"a": Decimal(1)}


@pytest.mark.parametrize(
    ("annotation", "value"), [(int, "x"), (Any, object()), (Any, Point(x=1)), (None, 3), (SecretStr, SecretStr("x"))]
)
def test_a_result_that_does_not_fit_or_cannot_be_sent_is_refused(annotation: Any, value: Any) -> None:
    def task(): ...

    task.__annotations__["return"] = annotation
    with pytest.raises(InvalidArguments) as caught:
        Signature(task).encode_result(value)
    assert caught.value.parameter == "return"


def test_a_result_of_another_version_is_refused_clearly() -> None:
    def old() -> str:
        return "x"

    def new() -> int:
        return 1

    with pytest.raises(InvalidArguments, match="another version"):
        Signature(new).decode_result(Signature(old).encode_result("x"))
    with pytest.raises(InvalidArguments):
        Signature(new).decode_result(b"\xc1")


def test_arguments_can_come_as_a_model() -> None:
    def task(match_id: str, copy: int, /, *rest: Point, _x: int = 1, model_dump: bool = False, **schema: int): ...

    signature = Signature(task)
    model = signature.arguments_model()
    body = model.model_validate(
        {"match_id": "m", "copy": "2", "rest": [{"x": 1}], "model_dump": True, "schema": {"a": 1}}
    )
    assert signature.call_of(body) == (("m", 2, Point(x=1)), {"_x": 1, "model_dump": True, "a": 1})
    assert set(model.model_json_schema()["properties"]) == {"match_id", "copy", "rest", "_x", "model_dump", "schema"}
    assert signature.arguments_model() is model


def test_the_model_of_a_task_without_parameters_takes_an_empty_body() -> None:
    def task(): ...

    model = Signature(task).arguments_model()
    assert Signature(task).call_of(model.model_validate({})) == ((), {})
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        model.model_validate({"a": 1})
