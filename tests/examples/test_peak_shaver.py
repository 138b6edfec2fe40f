"""
The peak-shaver story: requests await results, a full task is 503 at once, and Ctrl-C lets requests finish.

On memory the gateway runs the jobs itself; on other backends services run them, which start, stop and are killed.
"""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

PRIME = 2**38 - 45
"""A number that takes long enough to let the queue fill."""


@pytest.fixture
def services(url: str, serve: Any) -> None:
    """Two services, on backends that processes share."""
    for _ in range(0 if url.startswith("memory") else 2):
        serve()


async def request(example: Any, times: int) -> list[asyncio.Task[httpx.Response]]:
    """Send `times` requests, and return once the gateway has accepted all of them."""
    crowd = [asyncio.create_task(example.client.get(f"/prime/{PRIME}")) for _ in range(times)]
    while sum((load := (await example.client.get("/load")).json()).values()) < times:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert load["waiting"] > 0, "all jobs were done: the test would prove nothing"
    return crowd


async def statuses(crowd: list[asyncio.Task[httpx.Response]]) -> set[int]:
    return {answer.status_code for answer in await asyncio.gather(*crowd)}


async def test_results_are_right(run: Any, services: None) -> None:
    async with run("peak_shaver.gateway") as example:
        answers = await asyncio.gather(
            *(example.client.get(f"/prime/{x}") for x in range(30)),
            *(example.client.get(f"/fibonacci/{n}") for n in (0, 1, 10, 90)),
        )
    assert [x for x in range(30) if answers[x].json()["prime"]] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert [answer.json()["fibonacci"] for answer in answers[30:]] == [0, 1, 55, 2880067194370816120]


async def test_beyond_the_capacity_of_a_task_the_gateway_answers_503_and_all_accepted_ones_finish(
    run: Any, services: None
) -> None:
    async with run("peak_shaver.gateway") as example:
        crowd = [asyncio.create_task(example.client.get(f"/prime/{PRIME}")) for _ in range(200)]
        answers = await asyncio.gather(*crowd)
        other = await example.client.get("/fibonacci/10")
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 503}
    assert counts[200] >= 64
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)
    assert {answer.json()["type"] for answer in answers if answer.status_code == 503} == {"urn:fifoq:queue-full"}
    assert {answer.json()["prime"] for answer in answers if answer.status_code == 200} == {True}
    assert other.json() == {"fibonacci": 55}


async def test_after_ctrl_c_the_requests_that_were_accepted_still_get_their_results(run: Any, services: None) -> None:
    async with run("peak_shaver.gateway") as example:
        crowd = await request(example, 40)
        example.interrupt()
        assert await statuses(crowd) == {200}
        await asyncio.to_thread(example.ended_well)


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)  # the backends that processes share
async def test_services_start_stop_and_are_killed_and_every_request_gets_its_result(
    run: Any, url: str, serve: Any
) -> None:
    async with run("peak_shaver.gateway") as example:
        crowd = await request(example, 50)  # before any service runs
        killed, leaving = await asyncio.to_thread(serve), await asyncio.to_thread(serve)
        while (await example.client.get("/load")).json()["running"] < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        killed.kill()
        leaving.interrupt()
        await asyncio.to_thread(leaving.ended_well)
        load = (await example.client.get("/load")).json()
        assert load["waiting"] > 0, "all jobs were done before the new service started"
        await asyncio.to_thread(serve)
        assert await statuses(crowd) == {200}
