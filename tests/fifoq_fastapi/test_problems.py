"""Each FifoqError has its status, sent as problem details; details of the store stay in the log."""

import logging

import httpx
import pytest
from fastapi import FastAPI

from fifoq import Fifoq, errors
from fifoq.errors import FifoqError
from fifoq_fastapi import install_errors, lifespan, router
from fifoq_fastapi.problems import error_response

SAMPLES: list[tuple[FifoqError, int, str | None]] = [
    (errors.QueueFull("queue 'q' is full", retry_after=2.2), 503, "3"),
    (errors.QueueFull("never fits", retry_after=None), 503, None),
    (errors.BackendUnavailable("redis://10.0.0.7"), 503, "1"),
    (errors.OutcomeUnknown("redis://10.0.0.7"), 503, "1"),
    (errors.BackendBusy("/var/10.0.0.7.db"), 503, "1"),
    (errors.BackendFull("/var/10.0.0.7.db"), 507, None),
    (errors.BackendReadOnly("/var/10.0.0.7.db"), 507, None),
    (errors.BackendCorrupt("/var/10.0.0.7.db"), 500, None),
    (errors.ConfigurationError("10.0.0.7"), 500, None),
    (errors.UnknownTask("10.0.0.7"), 500, None),
    (errors.LeaseLost("10.0.0.7"), 500, None),
    (errors.InvalidArguments("x must be an int", parameter="x"), 422, None),
    (errors.PayloadTooLarge("x is too large", parameter="x"), 413, None),
    (errors.IdConflict("the id 'a' is taken", id="a"), 422, None),
    (errors.JobNotFound("a"), 404, None),
    (errors.JobFailed("a", "t", type="ValueError", error="secret 10.0.0.7"), 502, None),
    (errors.JobCancelled("a", "t", reason="expired"), 409, None),
    (errors.ResultTimeout("a", "t", 5.0), 504, None),
]


def all_errors(cls: type[FifoqError] = FifoqError) -> set[type[FifoqError]]:
    subclasses = {sub for sub in cls.__subclasses__() if sub.__module__ == "fifoq.errors"}
    return subclasses.union(*(all_errors(sub) for sub in subclasses))


def test_every_error_of_the_tree_has_a_sample() -> None:
    assert {type(error) for error, _, _ in SAMPLES} == all_errors() - {errors.BackendError}


@pytest.mark.parametrize(("error", "status", "retry_after"), SAMPLES, ids=lambda each: type(each).__name__)
async def test_an_error_of_a_route_is_answered_with_its_status(
    serve, error: FifoqError, status: int, retry_after: str | None
) -> None:
    app = FastAPI()
    install_errors(app)

    @app.get("/")
    async def root() -> None:
        raise error

    async with serve(app) as client:
        answer: httpx.Response = await client.get("/")
    sent = answer.json()
    assert answer.status_code == sent["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
    assert set(sent) >= {"type", "title", "status", "detail"}
    assert "10.0.0.7" not in answer.text


def test_details_that_the_caller_does_not_get_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "fifoq.fastapi"):
        error_response(errors.BackendUnavailable("no route to 10.0.0.7"))
    assert "no route to 10.0.0.7" in caplog.text


def test_invalid_arguments_name_the_parameter() -> None:
    answer = error_response(errors.InvalidArguments("tick must be an int", parameter="tick"))
    assert b'"parameter":"tick"' in answer.body


async def test_errors_that_are_not_of_fifoq_are_left_alone(serve) -> None:
    app = FastAPI()
    install_errors(app)

    @app.get("/")
    async def root(x: int) -> None: ...

    async with serve(app) as client:
        answer = await client.get("/?x=a")
        missing = await client.get("/nowhere")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert missing.json() == {"detail": "Not Found"}


async def test_installing_after_the_start_is_refused(serve) -> None:
    app = FastAPI()
    async with serve(app) as client:
        await client.get("/")
        with pytest.raises(errors.ConfigurationError, match="too late"):
            install_errors(app)


@pytest.mark.parametrize("body", [b'{"path": "\\udce9"}', b'{"path": "x", "\\udce9": 1}', b'{"\\ud83d": "x"}'])
async def test_a_lone_surrogate_in_a_request_is_422(serve, body: bytes) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def index(path: str) -> None: ...

    @tasks.task
    async def tag(path: str, **others: str) -> None: ...

    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose="all", public=True))
    async with serve(app) as client:
        for task in ("index", "tag"):
            answer = await client.post(f"/tasks/{task}", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_a_problem_with_a_lone_surrogate_is_sent_all_the_same() -> None:
    assert (
        b"? is no parameter"
        in error_response(errors.InvalidArguments("\udce9 is no parameter", parameter="\udce9")).body
    )
