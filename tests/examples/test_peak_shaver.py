"""The peak-shaver story, in one process: results are awaited, a full task is 503 at once, Ctrl-C finishes requests."""

import asyncio
from collections import Counter

import httpx

PRIME = 2**40 - 87
"""Takes a good part of a second: the queue behind it fills."""


async def test_results_are_right(run) -> None:
    async with run("peak_shaver") as example:
        answers = await asyncio.gather(
            *(example.client.get(f"/prime/{x}") for x in range(30)),
            *(example.client.get(f"/fibonacci/{n}") for n in (0, 1, 10, 90)),
        )
    assert [x for x in range(30) if answers[x].json()["prime"]] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert [answer.json()["fibonacci"] for answer in answers[30:]] == [0, 1, 55, 2880067194370816120]


async def test_beyond_the_capacity_of_a_task_the_gateway_answers_503_and_all_accepted_ones_finish(run) -> None:
    async with run("peak_shaver") as example:
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


async def test_after_ctrl_c_the_requests_that_were_accepted_still_get_their_results(run) -> None:
    async with run("peak_shaver") as example:
        crowd = [asyncio.create_task(example.client.get(f"/prime/{PRIME}")) for _ in range(40)]
        while sum((load := (await example.client.get("/load")).json()).values()) < 40:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert load["waiting"] > 0, "all was done before the signal: nothing would be proven"
        example.interrupt()
        answers: list[httpx.Response] = await asyncio.gather(*crowd)
        assert [answer.status_code for answer in answers] == [200] * 40
        assert await asyncio.to_thread(example.process.wait, 30) in (0, -2, 130)
