"""A job's key, and the value that a limit is by, are read from its arguments."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict
from pydantic_core import core_schema
from typing_extensions import TypedDict

from fifoq import Limit
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.limits import GateSettings
from tests.fifoq.task.conftest import Colour, play, put_one, task_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, None),
        ("match_id", "m1"),
        ("player", "3"),
        ("{match_id}:{player}", "m1:3"),
        ("match/{match_id}", "match/m1"),
        ("{{{player}}}", "{3}"),
        (lambda match_id: match_id.upper(), "M1"),
        (lambda player, match_id: (player, match_id)[0], "3"),
        (lambda **arguments: ",".join(sorted(arguments)), "at,match_id,player"),
        (lambda match_id, other=5: f"{match_id}{other}", "m15"),
        (lambda match_id: UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (lambda match_id: Colour.RED, "red"),
        (lambda match_id: None, None),
    ],
)
async def test_a_key_is_read_from_the_arguments(key: Any, expected: str | None) -> None:
    assert (await put_one(task_of(play, key=key), "m1", "3")).key == expected


async def test_a_key_of_the_same_text_is_the_same_key_whatever_its_type() -> None:
    async def by_int(key: int) -> None: ...
    async def by_enum(key: Colour | None) -> None: ...

    assert (await put_one(task_of(by_int, key="key"), "7")).key == "7"
    assert (await put_one(task_of(by_enum, key="key"), "red")).key == "red"
    assert (await put_one(task_of(by_enum, key="key"), None)).key is None


@pytest.mark.parametrize(
    ("key", "args", "parameter", "message"),
    [
        ("at", ("m",), "at", "gave a float"),
        ("match_id", ("",), "key", "1 to 128 characters"),
        ("match_id", ("m" * 129,), "key", "1 to 128 characters"),
        ("match_id", ("a\nb",), "key", "control characters"),
        ("{match_id}:{at}", ("m",), "at", "gave a float"),
        ("{match_id}", ("m" * 129,), "key", "1 to 128 characters"),
        (lambda match_id: 1 / 0, ("m",), "key", "failed: ZeroDivisionError"),
        (lambda match_id: [1], ("m",), "key", "gave a list"),
    ],
)
async def test_a_value_that_cannot_be_a_key_is_refused_at_enqueue(
    key: Any, args: Any, parameter: str, message: str
) -> None:
    with pytest.raises(InvalidArguments, match=message) as caught:
        await put_one(task_of(play, key=key), *args)
    assert caught.value.parameter == parameter


async def test_a_part_of_a_key_cannot_be_none() -> None:
    async def task(a: str | None, b: str) -> None: ...

    with pytest.raises(InvalidArguments, match="'a' is a part of the job's key"):
        await put_one(task_of(task, key="{a}:{b}"), None, "x")


async def test_a_limit_by_an_argument_gives_the_job_its_value() -> None:
    async def task(tenant: str | None, shard: int | None = None) -> None: ...

    one = task_of(task, limit=[Limit(320), Limit(2, by="tenant")])
    assert one.definition.gates == GateSettings(limit=320, value_limit=2)
    assert (await put_one(one, "acme")).value == "acme"
    assert (await put_one(one, None)).value is None
    two = task_of(task, limit=Limit(2, by=("tenant", "shard")))
    texts = {(await put_one(two, *args)).value for args in [("a", 1), ("a", None), ('a",1', None), (None, 1), ("a",)]}
    assert texts == {'["a","1"]', '["a",null]', '["a\\",1",null]', '[null,"1"]'}
    assert (await put_one(two, None)).value is None


async def test_all_jobs_of_an_ordered_queue_are_one_line() -> None:
    task = task_of(play, queue="scores", ordered=True)
    assert {(await put_one(task, id)).key for id in "abc"} == {"scores"}
    with pytest.raises(ConfigurationError, match="'scores' is ordered"):
        task.options(key="x")


# ---- attributes in templates ----


class Customer(BaseModel):
    id: int
    region: Colour | None = None

    @property
    def broken(self) -> str:
        raise OSError("no store")


@dataclass
class Order:
    customer: Customer
    note: str = ""


class Free(BaseModel):
    model_config = ConfigDict(extra="allow")


class Line(NamedTuple):
    order: Order


class Document(TypedDict):
    id: int


class Later:
    """Its attributes are known to its instances alone."""

    def __init__(self, id: int) -> None:
        self.id = id

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Later) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.id),
        )


ORDER = Order(Customer(id=7, region=Colour.RED))


@pytest.mark.parametrize(
    ("annotation", "path", "value", "expected"),
    [
        (Customer, "id", Customer(id=7), "7"),
        (Order, "customer.id", ORDER, "7"),
        (Order, "customer.region", ORDER, "red"),
        (Line, "order.customer.id", Line(ORDER), "7"),
        (Order | None, "customer.id", ORDER, "7"),
        (Annotated[Order, "note"], "customer.id", ORDER, "7"),
        (Any, "real", 3, "3"),
        (Colour, "value", Colour.RED, "red"),
        (Free, "tenant", Free.model_validate({"tenant": "t"}), "t"),
        (Later, "id", Later(7), "7"),
    ],
)
async def test_a_template_names_attributes_of_parameters(annotation: Any, path: str, value: Any, expected: str) -> None:
    async def task(match_id: str, event: annotation) -> None: ...  # pyright: ignore

    key = f"{{{{{{match_id}}}}}}{{event.{path}}}"
    assert (await put_one(task_of(task, key=key), "m1", value)).key == f"{{m1}}{expected}"


@pytest.mark.parametrize(
    ("annotation", "path", "message"),
    [
        (Customer, "idd", "a Customer has no attribute 'idd'. It has: id, region"),
        (Order, "customer.idd", "names 'event.customer.idd', but a Customer has no attribute 'idd'"),
        (Line, "order.nowhere", "a Order has no attribute 'nowhere'"),
        (Document, "id", "a Document has no attribute 'id'"),
        (dict, "id", "a dict has no attribute 'id'"),
        (str, "id", "a str has no attribute 'id'"),
        (UUID, "hexx", "a UUID has no attribute 'hexx'"),
    ],
)
def test_an_attribute_that_a_type_does_not_have_is_refused(annotation: Any, path: str, message: str) -> None:
    async def task(event: annotation) -> None: ...  # pyright: ignore

    with pytest.raises(ConfigurationError, match=re.escape(message)):
        task_of(task, key=f"{{event.{path}}}")

    async def postponed(event: "DEFINED_LATER") -> None: ...  # pyright: ignore  # noqa: F821

    one = task_of(postponed, key=f"{{event.{path}}}")
    globals()["DEFINED_LATER"] = annotation
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        one.signature.resolve()  # as opening does


@pytest.mark.parametrize(
    ("annotation", "path", "value", "message"),
    [
        (Any, "id", 3, "'event.id' is a part of the job's key, but a int has no attribute 'id'"),
        (Customer | None, "id", None, "'event' is a part of the job's key, so it cannot be None"),
        (Order, "customer.region", Order(Customer(id=1)), "'event.customer.region' is a part of the job's key, so it"),
        (Customer, "broken", Customer(id=1), "reading 'broken' of a Customer failed: OSError"),
        (Order, "customer", ORDER, "'event.customer' gave a Customer"),
        (Customer, "copy", Customer(id=1), "gave a method"),
    ],
)
async def test_an_attribute_that_an_argument_does_not_have_is_refused_at_enqueue(
    annotation: Any, path: str, value: Any, message: str
) -> None:
    async def task(event: annotation) -> None: ...  # pyright: ignore

    with pytest.raises(InvalidArguments, match=message) as caught:
        await put_one(task_of(task, key=f"{{event.{path}}}"), value)
    assert caught.value.parameter in ("event", f"event.{path}")


@pytest.mark.parametrize("key", ["{at.}", "{.at}", "{at..real}", "{at._x}", "{at.__class__}", "{at.real!r}", "{at[0]}"])
def test_a_template_holds_names_and_public_attributes_only(key: str) -> None:
    with pytest.raises(
        ConfigurationError, match="names of parameters in braces and nothing more than their public attributes"
    ):
        task_of(play, key=key)


def test_an_attribute_without_braces_is_refused_with_the_template_to_write() -> None:
    with pytest.raises(ConfigurationError, match=re.escape("write a template: '{at.real}'")):
        task_of(play, key="at.real")
