"""Whatever is stored can be shown: the same JSON alone, in a page, in the answer to the POST and in a stream."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BeforeValidator

from fifoq import Fifoq
from fifoq.backends import connect
from fifoq.codec import MAX_PAYLOAD, encode_call, encode_error, encode_progress, pack
from fifoq.record import Extension, Fail, Succeed
from fifoq.testing import AsyncDriver, spec
from fifoq_fastapi import router
from fifoq_fastapi.rendering import MAX_ARGUMENTS
from tests.stored_values import LARGE, parse, storable, values

MINUTE = 60_000_000
few = settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example opens an app: shrinking would take minutes
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)
numbers = itertools.count()
shelf: list[Any] = []
"""The values of the running test. A posted text `shelf:3` becomes the value at that place, so that any is posted."""


def taken(posted: Any) -> Any:
    is_place = isinstance(posted, str) and posted.startswith("shelf:")
    return shelf[int(posted.removeprefix("shelf:"))] if is_place else posted


Anything = Annotated[Any, BeforeValidator(taken)]


@asynccontextmanager
async def opened(tasks: Fifoq, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router(tasks, expose="all", public=True))
    async with tasks, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        yield client


async def page_with(client: httpx.AsyncClient, job: str) -> httpx.Response:
    """Return the page that has the JSON of a job. A page ends early if its jobs are large."""
    page = await client.get("/jobs")
    while job not in page.text and parse(page.content)["cursor"] is not None:
        page = await client.get("/jobs", params={"cursor": page.json()["cursor"]})
    return page


async def views(client: httpx.AsyncClient, id: str) -> list[str]:
    """Return the texts that show one ended job: alone, in a page, and in a stream; each is valid JSON."""
    alone = await client.get(f"/jobs/{id}")
    page = await page_with(client, alone.text)
    stream = await client.get(f"/jobs/{id}/events")
    assert [alone.status_code, page.status_code, stream.status_code] == [200, 200, 200]
    parse(page.content)
    (data,) = [line.removeprefix("data: ") for line in stream.text.split("\n") if line.startswith("data: ")]
    at = page.text.index(alone.text)
    return [alone.text, page.text[at : at + len(alone.text)], data]


@few
@given(st.lists(values.filter(storable), min_size=1, max_size=6))
def test_every_argument_and_result_is_the_same_json_in_all_views(given: list[Any]) -> None:
    asyncio.run(argument_and_result(given))


def test_large_arguments_and_results_are_the_same_json_in_all_views() -> None:
    asyncio.run(
        argument_and_result([LARGE[0], b"\xff" * 260_000, [[]] * 20_000, {number: {""} for number in range(9_000)}])
    )


async def argument_and_result(given: list[Any]) -> None:
    tasks = Fifoq("memory://")
    shelf[:] = given

    @tasks.task
    async def echo(value: Anything) -> Any:
        return value

    async with opened(tasks) as client, tasks.worker():
        for place in range(len(given)):
            posted = await client.post("/tasks/echo?wait=9", json={"value": f"shelf:{place}"})
            if posted.status_code == 422:  # fifoq refuses what would arrive changed; stores may have it from before
                assert "it would arrive changed" in posted.json()["detail"]
                continue
            assert posted.status_code == 200, posted.text
            shown = parse(posted.content)
            assert len({posted.text, *await views(client, shown["id"])}) == 1
            if len(posted.content) < MAX_ARGUMENTS:
                assert shown["kwargs"]["value"] == shown["result"]


@few
@given(st.text(), st.text(), st.integers(), st.none() | st.integers())
def test_every_error_and_progress_is_the_same_json_in_all_views(
    message: str, note: str, done: int, total: int | None
) -> None:
    asyncio.run(stored(encode_call([], {}), progress=encode_progress(done, total, note), result=pack(1)))
    asyncio.run(stored(encode_call([], {}), error=encode_error(note, message, message)))


payloads = st.binary(max_size=20) | values.filter(storable).map(pack)


@few
@given(payloads, payloads, payloads, st.booleans(), payloads)
def test_what_cannot_be_read_is_marked_in_all_views_and_the_page_goes_on(
    payload: bytes, end: bytes, progress: bytes, fails: bool, meta: bytes
) -> None:
    asyncio.run(stored(payload, progress=progress, meta=meta, **{"error" if fails else "result": end}))


async def stored(payload: bytes, *, progress: bytes = b"", meta: bytes = b"", **end: bytes) -> None:
    """Store one job of these bytes between two others, and check its views."""
    url = f"memory://views-{next(numbers)}"
    tasks = Fifoq(url)
    tasks.queue("default")
    async with opened(tasks) as client:
        backend = connect(url)
        await backend.open()
        driver = AsyncDriver(backend.queue("default"))
        kept = {"retain": MINUTE, "payload": pack([[], {}])}
        await driver.put(spec(id="before", **kept), spec(id="odd", **kept | {"payload": payload, "meta": meta}))
        await driver.put(spec(id="behind", **kept))
        for lease in await driver.leases(2):
            if lease.spec.id == "odd":
                await driver.queue.extend([Extension("odd", lease.token, MINUTE, progress)])
                outcome = Fail(end["error"], False, MINUTE) if "error" in end else Succeed(end["result"], MINUTE)
                await driver.settle(lease, outcome)
        shown = set(await views(client, "odd"))
        assert len(shown) == 1
        parse(shown.pop())
        page = parse((await client.get("/jobs")).content)
        assert [job["id"] for job in page["jobs"]] == ["before", "odd", "behind"]
        await backend.close()


@pytest.mark.parametrize("depth", [1, 49, 50, 51, 300, 500])
async def test_nested_lists_are_accepted_and_shown(depth: int) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def save(document: Any) -> Any:
        return document

    body = b'{"document":' + b"[" * depth + b"]" * depth + b"}"
    async with opened(tasks) as client, tasks.worker():
        posted = await client.post("/tasks/save?wait=9", content=body, headers={"Content-Type": "application/json"})
        assert posted.status_code == 200
        assert len({posted.text, *await views(client, posted.json()["id"])}) == 1
        assert posted.text.count("too deep") == 2 * (depth > 51)  # in the arguments and the result; [] has no depth


async def test_large_arguments_are_marked_with_their_size_and_the_result_is_whole() -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def shout(title: str, text: str) -> str:
        return text

    async with opened(tasks) as client, tasks.worker():
        posted = await client.post("/tasks/shout?wait=9", json={"title": "a", "text": "b" * 100_000})
    shown = parse(posted.content)
    assert shown["kwargs"] == {"title": "a", "text": {"$fifoq": "too large", "bytes": 100_002}}
    assert len(shown["result"]) == 100_000
    assert len(posted.content) < MAX_PAYLOAD
