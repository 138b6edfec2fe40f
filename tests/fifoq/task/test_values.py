"""A value arrives as it was sent, field by field and class by class, or is refused: as an argument and as a result."""

import dataclasses
import enum
import ipaddress
import itertools
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    HttpUrl,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    StringConstraints,
    TypeAdapter,
    computed_field,
    field_serializer,
)
from pydantic_core import core_schema
from typing_extensions import TypedDict

from fifoq import Fifoq, codec
from fifoq.errors import InvalidArguments, JobFailed
from fifoq.task.signature import Signature

# ---- types ----


class Colour(enum.Enum):
    RED = "red"
    BLUE = ("blue", 1)


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Accepted(BaseModel):
    order: int


class Rejected(BaseModel):
    order: int


class Deep(Accepted):
    more: str = "x"


class Timed(BaseModel):
    at: datetime


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    at: date


class SignUp(BaseModel):
    name: str = "x"
    password: str | None = Field(None, exclude=True)


class Private(BaseModel):
    n: int
    _note: str = PrivateAttr("")
    _lock: Any = PrivateAttr(default_factory=threading.Lock)


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int


class Aliased(BaseModel):
    inner: int = Field(alias="outerName")


class Computed(BaseModel):
    n: int

    @computed_field
    @property
    def twice(self) -> int:
        return 2 * self.n

    @cached_property
    def slow(self) -> int:
        return 3 * self.n


class Rounded(BaseModel):
    price: float

    @field_serializer("price")
    def _short(self, price: float) -> float:
        return round(price, 1)


class Root(RootModel[list[int]]): ...


@dataclasses.dataclass
class Move:
    game: str
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(slots=True)
class Slots:
    move: Move
    colour: Colour | None = None


@dataclasses.dataclass
class Grows:
    n: int

    def __post_init__(self) -> None:
        self.n += 1


class Pair(NamedTuple):
    left: Accepted
    right: Decimal


class Doc(TypedDict, total=False):
    when: datetime
    orders: list[Accepted]


class Money:
    """A class of the user's own, without an equality."""

    def __init__(self, cents: int, note: str = "") -> None:
        self.cents, self.note = cents, note

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def read(value: Any) -> "Money":
            if not isinstance(value, int | Money):
                raise ValueError("neither money nor cents")
            return value if isinstance(value, Money) else cls(int(value))

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(lambda money: money.cents)
        )


class Summer(tzinfo):
    """A zone whose offset changes, of another class than ZoneInfo."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else timedelta(hours=2 if moment.month in range(4, 10) else 1)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else timedelta(hours=1 if moment.month in range(4, 10) else 0)

    def tzname(self, moment: datetime | None) -> str:
        return "summer"


# ---- values ----

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
BERLIN = ZoneInfo("Europe/Berlin")
zones = st.sampled_from(
    [None, UTC, BERLIN, timezone(timedelta(hours=5, seconds=7)), timezone(timedelta(hours=1), "CET")]
)
scalars: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**70), 2**70),
    float: st.floats(),
    str: text,
    bool: st.booleans(),
    bytes: st.binary(max_size=3),
    type(None): st.none(),
    datetime: st.datetimes(timezones=zones),
    date: st.dates(),
    time: st.times(timezones=zones),
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    Annotated[int, Field(ge=0)]: st.integers(0, 5),
    Annotated[str, StringConstraints(to_lower=True)]: text,
}
numbers = st.integers(-5, 5)
hashable: dict[Any, st.SearchStrategy[Any]] = {
    Colour: st.sampled_from(Colour),
    Level: st.sampled_from(Level),
    Rights: st.sampled_from([Rights.READ, Rights.READ | Rights.WRITE]),
    Path: text.map(Path).filter(lambda path: "\0" not in str(path)),
    ipaddress.IPv4Address: st.ip_addresses(v=4),
    HttpUrl: st.just(HttpUrl("https://example.org/a")),
    Frozen: st.builds(Frozen, at=st.dates()),
}
others: dict[Any, st.SearchStrategy[Any]] = {
    Accepted: st.builds(Accepted, order=numbers) | st.builds(Deep, order=numbers),
    Rejected: st.builds(Rejected, order=numbers),
    SignUp: st.builds(SignUp, password=st.none() | text),
    Private: st.builds(lambda n, note: _noted(Private(n=n), note), numbers, text),
    Extra: st.builds(Extra, n=numbers, more=text | st.sampled_from(Colour) | st.builds(Accepted, order=numbers)),
    Aliased: st.builds(Aliased, outerName=numbers),
    Computed: st.builds(lambda n: _asked(Computed(n=n)), numbers),
    Rounded: st.builds(Rounded, price=st.floats(-5, 5)),
    Root: st.builds(Root, st.lists(numbers, max_size=3)),
    Move: st.builds(Move, text, text),
    Slots: st.builds(Slots, st.builds(Move, text, text), st.none() | st.sampled_from(Colour)),
    Grows: st.builds(Grows, numbers),
    Pair: st.builds(Pair, st.builds(Accepted, order=numbers), st.decimals(allow_nan=False, allow_infinity=False)),
    Doc: st.fixed_dictionaries({}, optional={"when": st.datetimes(), "orders": st.just([Accepted(order=1)])}),
    Money: st.builds(Money, numbers, text),
    Counter[str]: st.dictionaries(text, numbers, max_size=3).map(Counter),
    Any: st.sampled_from(
        [
            *[1, "x", (1, [2.5, {"a": None}]), {1, 2}, frozenset({b"x"}), {UUID(int=1): date(2026, 1, 1)}],
            *[Colour.RED, Level.LOW, Accepted(order=1), Move("g"), Pair(Accepted(order=1), Decimal(1)), deque([1])],
            *[OrderedDict(a=1), defaultdict(int), Counter("ab"), Path("a"), [Colour.RED], {Level.LOW: 1}, bytearray()],
        ]
    ),
}  # fmt: skip
MUST_ARRIVE = [*scalars, *hashable, Rejected, Aliased, Computed, Root, Pair, Doc]
Typed = tuple[Any, st.SearchStrategy[Any]]
leaves = st.sampled_from([*scalars.items(), *hashable.items(), *others.items()])
keys = st.sampled_from([*scalars.items(), *hashable.items()])


def _noted(model: Private, note: str) -> Private:
    model._note = note
    return model


def _asked(model: Computed) -> Computed:
    assert model.slow == 3 * model.n
    return model


def _containers(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    few: dict[str, Any] = {"max_size": 3}
    return (
        inner.map(lambda each: (list[each[0]], st.lists(each[1], **few)))
        | inner.map(lambda each: (dict[str, each[0]], st.dictionaries(text, each[1], **few)))
        | inner.map(lambda each: (tuple[each[0], ...], st.lists(each[1], **few).map(tuple)))
        | inner.map(lambda each: (each[0] | None, st.none() | each[1]))
        | inner.map(lambda each: (deque[each[0]], st.lists(each[1], **few).map(lambda items: deque(items, 5))))
        | inner.map(lambda each: (Sequence[each[0]], st.lists(each[1], **few) | st.lists(each[1], **few).map(tuple)))
        | inner.map(lambda each: (Mapping[str, each[0]], st.dictionaries(text, each[1], **few).map(OrderedDict)))
        | st.tuples(inner, inner).map(lambda two: (tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1])))
        | st.tuples(inner, inner).map(lambda two: (two[0][0] | two[1][0], two[0][1] | two[1][1]))
        | keys.map(lambda each: (set[each[0]], st.sets(each[1], **few)))
        | keys.map(lambda each: (frozenset[each[0]], st.frozensets(each[1], **few)))
        | st.tuples(keys, inner).map(
            lambda two: (dict[two[0][0], two[1][0]], st.dictionaries(two[0][1], two[1][1], **few))
        )
    )  # fmt: skip


typed = st.recursive(leaves, _containers, max_leaves=3)
sent = typed.flatmap(lambda each: st.tuples(st.just(each[0]), each[1]))


def picture(value: Any) -> Any:
    """All that makes up a value, as plain data: another way to compare than that of the code under test."""
    kind = type(value).__qualname__
    match value:
        case enum.Enum():
            return kind, repr(value)
        case datetime() | time():
            return kind, repr(value), value.tzname()
        case BaseModel():
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            note = getattr(value, "_note", None)
            return kind, picture(fields), picture(value.model_extra), note
        case Money():
            return kind, picture(vars(value))
        case dict():
            items = sorted(((picture(key), picture(each)) for key, each in value.items()), key=repr)
            return kind, items, repr(getattr(value, "default_factory", None))
        case list() | tuple() | deque():
            return kind, [picture(each) for each in value], getattr(value, "maxlen", None)
        case set() | frozenset():
            return kind, sorted((picture(each) for each in value), key=repr)
        case _ if dataclasses.is_dataclass(value):
            return kind, [picture(getattr(value, each.name)) for each in dataclasses.fields(value)]
        case _:
            return kind, repr(value)


def signature_of(annotation: Any) -> Signature:
    def task(first: int, value, *, last: str = "x"): ...

    task.__annotations__["value"] = task.__annotations__["return"] = annotation
    return Signature(task)


def send_argument(annotation: Any, value: Any) -> Any:
    signature = signature_of(annotation)
    args, kwargs = signature.decode(signature.encode((1, value), {}).payload)
    assert not args
    return kwargs["value"]


def send_result(annotation: Any, value: Any) -> Any:
    signature = signature_of(annotation)
    return signature.decode_result(signature.encode_result(value))


@settings(deadline=None, max_examples=150)
@given(sent)
@example((SignUp, SignUp(password="x")))
@example((Accepted | Rejected, Rejected(order=1)))
@example((list[Slots], [Slots(Move("g", "not compared"))]))
@example((datetime, datetime(2026, 10, 25, 2, 30, fold=1)))
@example((deque[int], deque([1], maxlen=3)))
def test_a_value_arrives_as_it_was_sent_or_is_refused(pair: tuple[Any, Any]) -> None:
    annotation, value = pair
    checked = TypeAdapter(annotation).validate_python(value)  # types may convert: this is what is sent
    for send, parameter in ((send_argument, "value"), (send_result, "return")):
        refused = None
        try:
            arrived = send(annotation, value)
        except InvalidArguments as error:
            refused = error
        if refused is None:
            assert picture(arrived) == picture(checked)
        else:
            assert refused.parameter == parameter
            assert annotation not in MUST_ARRIVE, str(refused)


# ---- cases ----


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (SignUp, SignUp(password="secret"), "would arrive changed: password"),
        (list[SignUp], [SignUp(), SignUp(password="secret")], "would arrive changed: 1.password"),
        (dict[str, SignUp], {"a": SignUp(password="secret")}, "would arrive changed: a.password"),
        (Accepted | Rejected, Rejected(order=1), "a Rejected would arrive as a Accepted"),
        (list[Accepted | Rejected], [Rejected(order=1)], "0: a Rejected would arrive as a Accepted"),
        (Accepted, Deep(order=1), "a Deep would arrive as a Accepted"),
        (Any, Accepted(order=1), "a Accepted would arrive as a dict"),
        (Any, {"a": [Colour.RED]}, "a.0: a Colour would arrive as a str"),
        (Any, [bytearray(b"x")], "0: a bytearray would arrive as a bytes"),
        (Any, {"a": (memoryview(b"x"),)}, "a.0: a memoryview would arrive as a bytes"),
        (Any, {Level.LOW: 1}, "a Level would arrive as a int"),
        (Private, _noted(Private(n=1), "secret"), "would arrive changed: _note"),
        (Money, Money(1, "secret"), "would arrive changed: note"),
        (Grows, Grows(1), "would arrive changed: n"),
        (Rounded, Rounded(price=0.25), "would arrive changed: price"),
        (Annotated[str, AfterValidator(lambda text: text + "!")], "secret", "would arrive changed"),
        (Annotated[int, PlainSerializer(lambda number: number + 1)], 7_531, "would arrive changed"),
        (deque[int], deque([1], maxlen=2), "would arrive changed: maxlen"),
        (Sequence[int], deque([1]), "a deque would arrive as a list"),
        (datetime, datetime(2026, 7, 1, tzinfo=Summer()), "would arrive as an offset"),
        (time, time(1, tzinfo=Summer()), "would arrive as an offset"),
        (list[datetime | None], [datetime(2026, 7, 1, tzinfo=Summer())], "would arrive as an offset"),
    ],
)  # fmt: skip
def test_a_value_that_would_arrive_changed_is_refused_by_its_part(annotation: Any, value: Any, message: str) -> None:
    for send in (send_argument, send_result):
        with pytest.raises(InvalidArguments, match=message) as caught:
            send(annotation, value)
        assert "secret" not in str(caught.value)
        assert "7531" not in str(caught.value)


def test_a_validator_with_another_outcome_each_time_is_refused() -> None:
    count = itertools.count()
    kind = Annotated[int, AfterValidator(lambda _: next(count))]
    for send in (send_argument, send_result):
        with pytest.raises(InvalidArguments, match="would arrive changed"):
            send(kind, 1)
        with pytest.raises(InvalidArguments, match=r"would arrive changed: 0"):
            send(list[kind], [1])


def test_an_instance_of_a_class_derived_from_a_plain_type_arrives_as_the_plain_type() -> None:
    class Text(str):
        __slots__ = ()

    class Moment(datetime): ...

    class Precise(datetime):
        """With nanoseconds, as those of pandas."""

        def __eq__(self, other: object) -> bool:
            return self is other

        __hash__ = datetime.__hash__

    for annotation in (Any, datetime, list[datetime]):
        value: Any = Moment(2026, 1, 1)
        sent_value = [value] if annotation == list[datetime] else value
        for send in (send_argument, send_result):
            assert send(annotation, sent_value) == sent_value
        value = Precise(2026, 1, 1)
        sent_value = [value] if annotation == list[datetime] else value
        with pytest.raises(InvalidArguments, match="a Precise would arrive changed, as a datetime"):
            send_argument(annotation, sent_value)
    for annotation in (Any, str):
        assert send_argument(annotation, Text("x")) == send_result(annotation, Text("x")) == "x"


def test_a_moment_keeps_its_zone_and_its_place_when_clocks_are_set_back() -> None:
    for fold in (0, 1):
        moment = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
        arrived = send_argument(datetime, moment)
        assert (arrived.isoformat(), arrived.fold, arrived.tzinfo) == (moment.isoformat(), fold, BERLIN)
        assert send_argument(datetime | None, moment.replace(tzinfo=None)).fold == fold


def test_a_moment_of_a_class_of_fixed_offset_arrives_as_that_offset() -> None:
    moment = TypeAdapter(datetime).validate_json('"2026-07-01T12:00:00+02:00"')  # a zone of pydantic's own
    for annotation in (datetime, Any, list[datetime], Timed):
        sent_value = {list[datetime]: [moment], Timed: Timed(at=moment)}.get(annotation, moment)
        for send in (send_argument, send_result):
            assert send(annotation, sent_value) == sent_value


def test_a_moment_is_the_same_where_the_rules_of_its_zone_are_others() -> None:
    data = codec.pack(datetime(2026, 7, 1, 12, tzinfo=BERLIN))
    changed = data.replace(b"+02:00", b"+03:00")  # written where summer time had been doubled
    assert codec.unpack(changed) == datetime(2026, 7, 1, 11, tzinfo=BERLIN)
    with pytest.raises(ValueError, match="tzdata"):
        codec.unpack(data.replace(b"Berlin", b"Nowher"))


async def test_a_result_that_would_arrive_changed_fails_its_job() -> None:
    tasks = Fifoq("memory://")

    @tasks.task(retry=1)
    async def decide(order: int) -> Accepted | Rejected:
        return Rejected(order=order)

    @tasks.task(retry=1)
    async def untyped(order: int):
        return Accepted(order=order)

    async with tasks, tasks.worker():
        for task, text in ((decide, "a Rejected would arrive as a Accepted"), (untyped, "would arrive as a dict")):
            with pytest.raises(JobFailed, match=text):
                await task.options(wait=10).call(1)


def test_a_value_of_plain_types_is_neither_dumped_nor_rebuilt() -> None:
    large: Any = {"a": [{"b": list(range(100_000))}]}
    for annotation in (Any, dict[str, Any], dict, dict[str, list[dict[str, list[int]]]]):
        value = signature_of(annotation).resolve().result
        assert value.dump(large) is large
