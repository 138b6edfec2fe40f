"""A task can be given wherever FastAPI and Starlette take a function: it does there as its function does."""

from collections.abc import Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fifoq import Context, Fifoq

Function = Callable[..., Any]
ran: list[str] = []


async def async_mail(to: str, times: int = 1) -> str:
    ran.append(to * times)
    return to * times


def sync_mail(to: str, times: int = 1) -> str:
    ran.append(to * times)
    return to * times


async def async_with_context(ctx: Context, to: str, times: int = 1) -> str:
    ran.append(to * times)
    return to * times


def sync_with_context(ctx: Context, to: str, times: int = 1) -> str:
    ran.append(to * times)
    return to * times


FUNCTIONS = [async_mail, sync_mail, async_with_context, sync_with_context]


@pytest.fixture(params=FUNCTIONS, ids=lambda function: function.__name__)
def task(request: pytest.FixtureRequest) -> Any:
    ran.clear()
    tasks = Fifoq("memory://")
    return tasks.task(request.param)


async def get(app: Any, path: str = "/?to=ab&times=2") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get(path)


async def test_in_background_tasks(task: Any) -> None:
    app = FastAPI()

    @app.get("/")
    async def route(background: BackgroundTasks) -> None:
        background.add_task(task, "ab", times=2)

    assert (await get(app)).status_code == 200
    assert ran == ["abab"]


async def test_in_a_background_task_of_starlette(task: Any) -> None:
    async def route(request: Request) -> Response:
        return PlainTextResponse("", background=BackgroundTask(task, "ab", times=2))

    await get(Starlette(routes=[Route("/", route)]))
    assert ran == ["abab"]


async def test_as_a_route(task: Any) -> None:
    app = FastAPI()
    app.get("/")(task)
    app.add_api_route("/again", task)
    for path in ("/", "/again"):
        answer = await get(app, f"{path}?to=ab&times=2")
        assert (answer.status_code, answer.json()) == (200, "abab")
    parameters = app.openapi()["paths"]["/"]["get"]["parameters"]
    assert [each["name"] for each in parameters] == ["to", "times"]


async def test_as_a_dependency(task: Any) -> None:
    app = FastAPI()

    @app.get("/")
    async def route(mail: Annotated[str, Depends(task)]) -> str:
        return mail

    assert (await get(app)).json() == "abab"


@pytest.mark.parametrize("is_async", [True, False])
async def test_as_a_route_of_starlette(is_async: bool) -> None:
    async def async_answer(request: Any) -> Any:
        return JSONResponse("yes")

    def sync_answer(request: Any) -> Any:
        return JSONResponse("yes")

    task = Fifoq("memory://").task(async_answer if is_async else sync_answer)
    assert (await get(Starlette(routes=[Route("/", task)]))).json() == "yes"


async def test_in_the_thread_pool_of_starlette() -> None:
    assert await run_in_threadpool(Fifoq("memory://").task(sync_mail), "ab", 2) == "abab"
