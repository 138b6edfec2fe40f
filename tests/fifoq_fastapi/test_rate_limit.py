"""`RateLimit` admits a burst, refills evenly, and sheds other requests with 429."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from fifoq.errors import ConfigurationError
from fifoq_fastapi import RateLimit, install_errors
from fifoq_fastapi.problems import RateExceeded

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 12_345 * SECOND

    def __call__(self) -> int:
        return self.now


async def let_through(limit: RateLimit, requests: int) -> int:
    passed = 0
    for _ in range(requests):
        try:
            await limit()
        except RateExceeded:
            continue
        passed += 1
    return passed


@pytest.mark.parametrize(("burst", "per_second"), [(1, 1), (5, 10), (5000, 1000), (7, 0.3), (10, 3)])
async def test_a_burst_passes_at_once_and_nothing_beyond_it(burst: int, per_second: float) -> None:
    assert await let_through(RateLimit(burst, per_second, clock=Clock()), burst + 100) == burst


async def test_the_bucket_refills_evenly_and_never_beyond_the_burst() -> None:
    clock = Clock()
    limit = RateLimit(burst=5, per_second=10, clock=clock)
    assert await let_through(limit, 9) == 5
    clock.now += SECOND // 10
    assert await let_through(limit, 9) == 1
    clock.now += 3 * SECOND // 10
    assert await let_through(limit, 9) == 3
    clock.now += 3600 * SECOND
    assert await let_through(limit, 9) == 5


async def test_the_time_named_is_enough_to_be_let_through() -> None:
    clock = Clock()
    limit = RateLimit(burst=2, per_second=3, clock=clock)
    assert await let_through(limit, 2) == 2
    with pytest.raises(RateExceeded) as shed:
        await limit()
    clock.now += round(shed.value.retry_after * SECOND) - 1
    assert await let_through(limit, 1) == 0
    clock.now += 1
    assert await let_through(limit, 1) == 1


@pytest.mark.parametrize(("burst", "per_second"), [(0, 1), (1, 0), (1, -1), (1, float("inf")), (1, float("nan"))])
def test_a_limit_that_lets_nothing_or_everything_through_is_refused(burst: int, per_second: float) -> None:
    with pytest.raises(ConfigurationError, match="burst"):
        RateLimit(burst, per_second)


@pytest.mark.parametrize("installed", [True, False])
async def test_a_shed_request_is_answered_429_with_retry_after(serve, installed: bool) -> None:
    app = FastAPI()
    if installed:
        install_errors(app)
    limit = RateLimit(burst=2, per_second=0.001)

    @app.get("/")
    async def root(_: Annotated[None, Depends(limit)]) -> str:
        return "here"

    async with serve(app) as client:
        answers = [await client.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 900
    if installed:
        assert answers[2].headers["content-type"] == "application/problem+json"
        assert answers[2].json()["type"] == "urn:fifoq:rate-exceeded"
