"""`Jobs` replaces BackgroundTasks: the same call, with an `await`, enqueues a job."""

import functools

import pytest
from fastapi import BackgroundTasks, FastAPI

from fifoq import Fifoq
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq_fastapi import JobAdder, Jobs, install_errors, job_adder, lifespan

tasks = Fifoq("memory://")


@tasks.task(key="email")
async def send_welcome(email: str, language: str = "en") -> str:
    return f"{email} in {language}"


async def test_a_job_is_added_with_the_arguments_of_add_task(serve) -> None:
    app = FastAPI(lifespan=lifespan(tasks, worker=True))

    @app.post("/signup", status_code=202)
    async def signup(email: str, jobs: Jobs, background: BackgroundTasks) -> str:
        background.add_task(print, "as before")
        job = await jobs.add_task(send_welcome, email, language="de")
        return job.id

    async with serve(app) as client:
        id = (await client.post("/signup", params={"email": "ada@example.org"})).json()
        assert await send_welcome.handle(id).result(5) == "ada@example.org in de"


@pytest.mark.parametrize("function", [print, lambda: None, functools.partial(print, 1)])
async def test_a_function_that_is_no_task_is_refused_with_what_to_do(function: object) -> None:
    with pytest.raises(ConfigurationError, match=r"@tasks\.task"):
        await JobAdder().add_task(function)  # pyright: ignore


async def test_wrong_arguments_are_422_for_the_caller_of_the_route(serve) -> None:
    app = FastAPI(lifespan=lifespan(tasks))
    install_errors(app)

    @app.post("/signup")
    async def signup(jobs: Jobs) -> None:
        with pytest.raises(InvalidArguments):
            await jobs.add_task(send_welcome)  # pyright: ignore
        await jobs.add_task(send_welcome, "ada", 7)  # pyright: ignore

    async with serve(app) as client:
        answer = await client.post("/signup")
    assert (answer.status_code, answer.json()["parameter"]) == (422, "language")


async def test_it_can_be_replaced_in_tests(serve) -> None:
    class Fake(JobAdder):
        async def add_task(self, *args: object, **kwargs: object) -> object:
            return "nothing was enqueued"

    app = FastAPI()
    app.dependency_overrides[job_adder] = Fake

    @app.post("/signup")
    async def signup(jobs: Jobs) -> object:
        return await jobs.add_task(send_welcome, "ada")

    async with serve(app) as client:
        assert (await client.post("/signup")).json() == "nothing was enqueued"
