"""Each task has a typed route: 202 with the job, idempotent by key, `?wait=`, problem details; and late tasks, too."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from enum import Enum
from inspect import signature
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from fifoq import Fifoq, Retry
from fifoq.errors import ConfigurationError, GiveUp
from fifoq_fastapi import lifespan, router
from fifoq_fastapi.routing import TaskRouter


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Order(BaseModel):
    id: UUID
    day: date
    colours: set[Colour] = set()


class Shop:
    """An app with one task of each sort, and a public router."""

    def __init__(self, *, worker: bool = True, **queue: object) -> None:
        self.tasks = Fifoq("memory://", lease=3.0, grace=0.1)
        if queue:
            self.tasks.queue("default", **queue)
        self.begun, self.open = asyncio.Event(), asyncio.Event()
        self.seen: list[object] = []
        self._define()
        self.app = FastAPI(lifespan=lifespan(self.tasks, worker=worker))
        self.app.include_router(router(self.tasks, expose="all", public=True), prefix="/queue")

    def _define(self) -> None:
        @self.tasks.task(key="customer")
        async def ship(customer: str, order: Order, note: str = "") -> str:
            self.seen.append(order)
            return f"{customer}:{order.id}"

        @self.tasks.task
        async def hold(number: int = 0) -> int:
            self.begun.set()
            await self.open.wait()
            return number

        @self.tasks.task(retry=Retry(attempts=1))
        async def spoil() -> None:
            raise GiveUp("rotten secret")

        @self.tasks.task(queue="elsewhere")
        async def ship_elsewhere(customer: str, order: Order, note: str = "") -> None: ...

        @self.tasks.task(retain=0)
        async def forget() -> str:
            return "gone"


@pytest.fixture
def shop() -> Shop:
    return Shop()


ORDER = {"customer": "ada", "order": {"id": str(UUID(int=7)), "day": "2026-02-01", "colours": ["red"]}}


async def test_a_post_answers_202_with_the_job_and_where_it_is(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/ship", json=ORDER)
        job = answer.json()
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/queue/jobs/{job['id']}"
        assert (job["task"], job["queue"], job["key"]) == ("ship", "default", "ada")
        done = await client.get(answer.headers["location"], params={"wait": 5})
    assert done.json()["state"] == "succeeded"
    assert done.json()["result"] == f"ada:{UUID(int=7)}"
    assert shop.seen == [Order(id=UUID(int=7), day=date(2026, 2, 1), colours={Colour.RED})]


async def test_wait_answers_200_with_the_result_if_it_is_done_in_time(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/ship", params={"wait": 5}, json=ORDER)
    assert answer.status_code == 200
    assert answer.json()["result"] == f"ada:{UUID(int=7)}"


async def test_wait_answers_202_if_it_is_not_done_in_time(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/hold", params={"wait": 0.05})
        assert answer.status_code == 202
        assert answer.json()["state"] in ("waiting", "running")
        polled = await client.get(answer.headers["location"], params={"wait": 0.05})
        assert polled.status_code == 200
        assert polled.json()["state"] == "running"
        shop.open.set()
        assert (await client.get(answer.headers["location"], params={"wait": 5})).json()["state"] == "succeeded"


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
async def test_an_absurd_wait_is_422(serve, shop: Shop, wait: str) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/hold", params={"wait": wait})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "wait")


async def test_a_job_that_fails_while_awaited_is_502_without_its_message(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/spoil", params={"wait": 5})
        problem = answer.json()
        assert answer.status_code == 502
        assert problem["type"] == "urn:fifoq:job-failed"
        assert "secret" not in problem["detail"]
        job = await client.get(f"/queue/jobs/{problem['job_id']}")
    assert (job.status_code, job.json()["state"]) == (200, "failed")
    assert "traceback" not in job.json()["error"]


async def test_a_job_that_is_cancelled_while_awaited_is_409(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        waiting = asyncio.create_task(
            client.post("/queue/tasks/hold", params={"wait": 20}, headers={"Idempotency-Key": "a"})
        )
        await shop.begun.wait()
        await shop.tasks.cancel("a")
        answer = await waiting
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:fifoq:job-cancelled")


async def test_the_idempotency_key_is_the_jobs_id_and_a_repeat_is_200(serve, shop: Shop) -> None:
    key = str(uuid4())
    async with serve(shop.app) as client:
        first = await client.post("/queue/tasks/ship", json=ORDER, headers={"Idempotency-Key": key})
        repeat = await client.post("/queue/tasks/ship", json=ORDER, headers={"Idempotency-Key": key})
        assert (first.status_code, repeat.status_code) == (202, 200)
        assert first.json()["id"] == repeat.json()["id"] == key
        assert repeat.headers["location"] == first.headers["location"]
        await client.get(f"/queue/jobs/{key}", params={"wait": 5})
    assert len(shop.seen) == 1


@pytest.mark.parametrize(
    ("task", "body"), [("ship", ORDER | {"customer": "bob"}), ("hold", {}), ("ship_elsewhere", ORDER)]
)
async def test_another_body_or_task_under_the_same_key_is_422(serve, shop: Shop, task: str, body: object) -> None:
    async with serve(shop.app) as client:
        await client.post("/queue/tasks/ship", json=ORDER, headers={"Idempotency-Key": "k"})
        answer = await client.post(f"/queue/tasks/{task}", json=body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:fifoq:id-conflict")
    assert answer.json()["job_id"] == "k"


@pytest.mark.parametrize("key", ["", "x" * 129])
async def test_an_idempotency_key_that_cannot_be_an_id_is_422(serve, shop: Shop, key: str) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/hold", headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "Idempotency-Key")


async def test_a_key_of_128_characters_with_odd_ones_comes_back_in_the_location(serve, shop: Shop) -> None:
    key = "a/b?c#d%e f" + "x" * 117
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/hold", headers={"Idempotency-Key": key})
        assert answer.json()["id"] == key
        assert (await client.get(answer.headers["location"])).json()["id"] == key


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"customer": "ada"}, "order"),
        ({"customer": 7, "order": ORDER["order"]}, "customer"),
        (ORDER | {"extra": 1}, "extra"),
        ({"customer": "ada", "order": {"id": "x", "day": "2026-02-01"}}, "order"),
    ],
)
async def test_wrong_arguments_are_422_and_name_the_parameter(serve, shop: Shop, body: object, parameter: str) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/ship", json=body)
    assert (answer.status_code, answer.json()["parameter"]) == (422, parameter)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"customer": "\\ud800"}'])
async def test_a_malformed_body_is_422(serve, shop: Shop, body: bytes) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/ship", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_arguments_that_are_too_large_are_413(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/ship", json=ORDER | {"note": "x" * 300_000})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:fifoq:payload-too-large")


async def test_an_oversized_body_is_413_before_it_is_read_whole(serve, shop: Shop) -> None:
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 100_000

    async with serve(shop.app) as client:
        try:
            answer = await client.post(
                "/queue/tasks/ship", content=flood(), headers={"content-type": "application/json"}
            )
        except httpx.WriteError:
            assert sent < 1000  # the server closed the connection while the rest was still on its way
            return
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:fifoq:body-too-large")


async def test_a_body_that_is_announced_too_long_is_413_before_any_of_it_came(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(
            b"POST /queue/tasks/ship HTTP/1.1\r\nhost: x\r\n"
            b"content-type: application/json\r\ncontent-length: 100000000\r\n\r\n"
        )
        try:
            async with asyncio.timeout(10):
                assert b" 413 " in await reader.readline()
        finally:
            writer.close()


async def test_unknown_tasks_jobs_and_methods_are_problems(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        for answer, status in [
            (await client.post("/queue/tasks/nothing"), 404),
            (await client.get("/queue/jobs/nothing"), 404),
            (await client.get("/queue/tasks/ship"), 405),
            (await client.put("/queue/jobs/nothing"), 405),
        ]:
            assert answer.status_code == answer.json()["status"] == status
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_full_queue_is_503_with_retry_after(serve) -> None:
    shop = Shop(capacity=1)
    async with serve(shop.app) as client:
        assert (await client.post("/queue/tasks/hold")).status_code == 202
        answer = await client.post("/queue/tasks/hold")
        shop.open.set()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:fifoq:queue-full")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_job_that_is_removed_as_it_ends_is_still_answered(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        accepted = [await client.post("/queue/tasks/forget") for _ in range(20)]
        waited = await client.post("/queue/tasks/forget", params={"wait": 5})
    assert {answer.status_code for answer in accepted} == {202}
    assert (waited.status_code, waited.json()["result"]) == (200, "gone")


async def test_every_task_has_its_own_arguments_in_the_openapi_document(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        document = (await client.get("/openapi.json")).json()
    post = document["paths"]["/queue/tasks/ship"]["post"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    model = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert set(model["properties"]) == {"customer", "order", "note"}
    assert model["required"] == ["customer", "order"]
    assert {"200", "202", "413", "422", "503"} <= set(post["responses"])
    assert not document["paths"]["/queue/tasks/forget"]["post"].get("requestBody", {}).get("required", False)
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    assert "/queue/tasks/{name}" not in document["paths"]


async def test_tasks_registered_after_the_router_was_included_appear_too(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        assert (await client.post("/queue/tasks/late")).status_code == 404
        assert "/queue/tasks/late" not in (await client.get("/openapi.json")).json()["paths"]

        @shop.tasks.task
        async def late() -> str:
            return "better than never"

        assert "/queue/tasks/late" in (await client.get("/openapi.json")).json()["paths"]
        assert (await client.post("/queue/tasks/late")).status_code == 202


def test_a_task_whose_name_is_no_path_is_refused() -> None:
    tasks = Fifoq("memory://")

    @tasks.task(name="ship {parcel}")
    async def ship() -> None: ...

    app = FastAPI()
    app.include_router(router(tasks, expose="all", public=True))
    with pytest.raises(ConfigurationError, match="braces"):
        app.openapi()


async def test_a_task_may_be_named_as_a_path(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task(name="parcels/ship it")
    async def ship() -> None: ...

    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose="all", public=True), prefix="/q")
    async with serve(app) as client:
        answer = await client.post("/q/tasks/parcels/ship it", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["location"]) == (202, "/q/jobs/k")


async def test_routes_are_there_even_if_fastapi_does_not_read_their_version(
    serve, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The method is private to FastAPI. Without it, tasks get their routes with the first request."""
    monkeypatch.delattr(TaskRouter, "_get_routes_version")
    async with serve(shop.app) as client:
        assert (await client.post("/queue/tasks/hold")).status_code == 202
        assert "/queue/tasks/ship" in (await client.get("/openapi.json")).json()["paths"]


async def test_only_exposed_tasks_have_a_route(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def shown() -> None: ...

    @tasks.task
    async def hidden() -> None: ...

    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose=[shown], public=True))
    async with serve(app) as client:
        assert (await client.post("/tasks/shown")).status_code == 202
        assert (await client.post("/tasks/hidden")).status_code == 404
        assert "/tasks/hidden" not in (await client.get("/openapi.json")).json()["paths"]


async def test_a_task_of_another_fifoq_is_not_exposed() -> None:
    other = Fifoq("memory://")

    @other.task
    async def foreign() -> None: ...

    for thing in (foreign, foreign.function, foreign.options(priority=1)):
        with pytest.raises(ConfigurationError, match="foreign"):
            router(Fifoq("memory://"), expose=[thing], public=True)


async def test_types_of_arguments_may_be_defined_after_the_router(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def pack(box: "Box") -> int:  # noqa: F821 (defined below, on purpose)
        return box.size

    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.include_router(router(tasks, expose=[pack], public=True))
    globals()["Box"] = type("Box", (BaseModel,), {"__annotations__": {"size": int}, "__module__": __name__})
    async with serve(app) as client:
        answer = await client.post("/tasks/pack?wait=5", json={"box": {"size": 3}})
    assert answer.json()["result"] == 3


async def test_results_of_all_kinds_are_json(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def everything() -> dict[str, object]:
        return {"bytes": b"\xff\x00", "inf": float("inf"), "big": 2**80, "set": {1}, "id": UUID(int=1), "day": date.min}

    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.include_router(router(tasks, expose=[everything], public=True))
    async with serve(app) as client:
        answer = await client.post("/tasks/everything?wait=5")
    assert answer.json()["result"] == {
        "bytes": "_wA=",
        "inf": "Infinity",
        "big": 2**80,
        "set": [1],
        "id": str(UUID(int=1)),
        "day": "0001-01-01",
    }


@pytest.mark.skipif("max_body_size" not in signature(FastAPI).parameters, reason="this FastAPI has no such limit")
async def test_the_apps_own_limit_of_a_body_is_a_problem_too(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def note(text: str) -> None: ...

    app = FastAPI(lifespan=lifespan(tasks), max_body_size=1000)
    app.include_router(router(tasks, expose="all", public=True))

    async def body() -> AsyncIterator[bytes]:
        yield b'{"text": "'
        for _ in range(30):
            yield b"x" * 100

    async with serve(app) as client:
        answer = await client.post("/tasks/note", content=body(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:fifoq:body-too-large")


async def test_an_id_that_ends_like_the_path_of_a_stream_is_refused(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        answer = await client.post("/queue/tasks/hold", headers={"Idempotency-Key": "a/events"})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "Idempotency-Key")


async def test_a_method_without_a_route_is_405_with_all_methods_of_the_path(serve, shop: Shop) -> None:
    async with serve(shop.app) as client:
        answer = await client.put("/queue/jobs/a")
        breaks = await client.post("/queue/queues/a%0Ab/pause")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
    assert (breaks.status_code, breaks.json()["type"]) == (404, "urn:fifoq:unknown-queue")
