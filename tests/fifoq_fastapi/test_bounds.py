"""Answers are bounded in bytes: no request makes a large one, and none of them is worth much work."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import FastAPI
from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from fifoq import Fifoq
from fifoq_fastapi import router
from fifoq_fastapi.problems import MAX_ERRORS
from fifoq_fastapi.validation import MAX_COLLECTED, bounded_body, fail_fast
from tests.stored_values import parse

BODY = 250_000
LARGEST_ANSWER = 200_000


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: int
    default: list[int] = []
    fields: dict[str, int] = {}


class Tree(BaseModel):
    id: int
    left: "list[Tree]" = []
    right: "list[Tree]" = []


class Typed(TypedDict):
    numbers: list[int]


@dataclass
class Plain:
    numbers: list[int]


def refuse(text: str) -> str:
    raise ValueError(f"{text} is no good")


TYPES: dict[str, Any] = {
    "int": int,
    "text": str,
    "list": list[int],
    "mapping": Mapping[str, int],
    "dict": dict[int, int],
    "tuple": tuple[int, ...],
    "set": set[int],
    "nested": list[list[dict[str, list[int]]]],
    "union": list[int | bool | list[int]] | dict[str, int] | Leaf,
    "leaf": Leaf,
    "leaves": list[Leaf],
    "tree": Tree,
    "typed": list[Typed],
    "plain": dict[str, Plain],
    "word": Literal["a", "b"],
    "refused": Annotated[str, AfterValidator(refuse)],
}


def items(item: str) -> str:
    return "[" + ",".join([item] * (BODY // (len(item) + 1))) + "]"


def members(item: str) -> str:
    return "{" + ",".join(f'"{number}":{item}' for number in range(BODY // (len(item) + 10))) + "}"


def tree(depth: int) -> str:
    inner = "" if depth == 0 else f'"left":[{tree(depth - 1)}],"right":[{tree(depth - 1)}]'
    return f"{{{inner}}}"


VALUES: dict[str, str] = {
    "texts": items('""'),
    "nothings": items("null"),
    "lists": items("[]"),
    "objects": items("{}"),
    "pairs of lists": items('[["a"],["b"]]'),
    "typed": items('{"numbers":["a"]}'),
    "leaves": items('{"x":1}'),
    "members": members('""'),
    "members that are lists": members('[""]'),
    "members that are objects": members('{"numbers":[""]}'),
    "a tree": tree(12),
    "a long text": json.dumps("\x01" * (BODY // 6)),
    "a long member": json.dumps({"é" * (BODY // 6): {"é": 1}}),
    "deep": "[" * 900 + "]" * 900,
    "fields": '{"type":"a","default":' + items('"a"') + "}",
}


def make_app() -> tuple[Fifoq, FastAPI]:
    tasks = Fifoq("memory://")
    for name, type_ in TYPES.items():

        def take(value: Any, **rest: int) -> None: ...

        take.__annotations__["value"] = type_
        tasks.task(name=name)(take)
    app = FastAPI()
    app.include_router(router(tasks, expose="all", public=True))
    return tasks, app


@asynccontextmanager
async def opened() -> AsyncIterator[httpx.AsyncClient]:
    tasks, app = make_app()
    async with tasks, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        yield client


@pytest.mark.parametrize("value", VALUES)
async def test_no_body_makes_a_large_answer(value: str) -> None:
    async with opened() as client:
        for task in ("list", "union", "leaf", "text"):
            for body in (f'{{"value":{VALUES[value]}}}', f'{{"value":1,"rest":{VALUES[value]}}}', VALUES[value]):
                answer = await client.post(
                    f"/tasks/{task}", content=body.encode(), headers={"Content-Type": "application/json"}
                )
                assert answer.status_code in (202, 413, 422), (task, answer.text[:200])
                assert len(answer.content) <= LARGEST_ANSWER, (task, answer.status_code)
                shown = parse(answer.content)
                assert answer.status_code != 422 or len(shown.get("errors", [])) <= MAX_ERRORS


def errors_of(adapter: TypeAdapter[Any], body: Any) -> int:
    try:
        adapter.validate_python(body)
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.parametrize("task", TYPES)
def test_the_errors_of_no_body_are_looked_at_one_by_one(task: str) -> None:
    tasks, _ = make_app()
    adapter = TypeAdapter(bounded_body(tasks.tasks[task].signature.arguments_model()))
    for value in VALUES.values():
        for body in (f'{{"value":{value}}}', value):
            assert errors_of(adapter, json.loads(body)) <= MAX_COLLECTED


def test_a_few_errors_are_all_named_and_more_are_counted() -> None:
    adapter = TypeAdapter(bounded_body(Leaf))
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python({"type": "a", "default": [1, "b", "c"], "fields": {"d": "e"}, "x": 1})
    assert [error["loc"] for error in caught.value.errors()] == [("type",), ("default", 1), ("fields", "d"), ("x",)]
    valid = {"type": 1, "default": [1, 2], "fields": {"default": 1}}
    assert adapter.validate_python(valid) == Leaf(**valid)
    assert fail_fast(Leaf.__pydantic_core_schema__) != Leaf.__pydantic_core_schema__, "Leaf itself is as it was"


async def test_more_errors_than_are_listed_are_counted() -> None:
    async with opened() as client:
        answer = await client.post("/tasks/leaf", json={"value": {"type": 1} | {f"x{n}": 1 for n in range(30)}})
    problem = answer.json()
    assert (len(problem["errors"]), problem["more_errors"], problem["parameter"]) == (10, 20, "value")


@pytest.mark.parametrize("path", ["/tasks/{}", "/jobs/{}", "/jobs?queue={}", "/jobs?cursor={}", "/jobs?limit={}"])
async def test_a_long_name_is_not_repeated_whole(path: str) -> None:
    async with opened() as client:
        answer = await client.request("POST" if "tasks" in path else "GET", path.format("x" * 60_000))
    assert answer.status_code in (404, 422)
    assert len(answer.content) < 10_000


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("sizes", [[10], [250_000], [10_000], [10, 60_000, 10_000, 250_000]])
async def test_pages_are_small_and_show_every_job_exactly_once(limit: int, sizes: list[int]) -> None:
    tasks = Fifoq("memory://")

    @tasks.task(key="line")
    async def save(line: int, text: str) -> None: ...

    @tasks.task(queue="other")
    async def keep(text: str) -> None: ...

    app = FastAPI()
    app.include_router(router(tasks, expose="all", public=True))
    async with tasks, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        jobs = [await save.enqueue(n, "\x01" * sizes[n % len(sizes)]) for n in range(17)]
        jobs += [await keep.enqueue("\x01" * sizes[n % len(sizes)]) for n in range(3)]
        seen: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await client.get("/jobs", params={"limit": limit} | cursor)
            assert len(page.content) <= LARGEST_ANSWER
            shown = parse(page.content)
            assert len(shown["jobs"]) <= limit
            seen += [job["id"] for job in shown["jobs"]]
            if shown["cursor"] is None:
                break
            cursor = {"cursor": shown["cursor"]}
    assert seen == [job.id for job in jobs]
