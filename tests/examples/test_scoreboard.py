"""The scoreboard story: old statistics never overwrite newer ones, and matches do not wait for each other."""

import asyncio
import time
from typing import Any

import pytest

MATCHES, TICKS = 8, 60


async def test_old_statistics_never_overwrite_newer_ones(run) -> None:
    async with run("scoreboard") as example:
        client = example.client

        async def push(match: int) -> None:
            for tick in range(1, TICKS + 1):
                answer = await client.post(f"/matches/m{match}/stats", json={"tick": tick, "goals": tick // 10})
                assert answer.status_code == 202
                assert answer.json()["job"]

        async def poll(match: int) -> list[int]:
            seen: list[int] = []
            deadline = time.monotonic() + 30
            while (not seen or seen[-1] < TICKS) and time.monotonic() < deadline:
                answer = await client.get(f"/matches/m{match}")
                seen += [answer.json()["tick"]] if answer.status_code == 200 else []
                await asyncio.sleep(0.03)
            return seen

        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(poll(match)) for match in range(MATCHES)]
            for match in range(MATCHES):
                group.create_task(push(match))
    for seen in (each.result() for each in polls):
        assert seen == sorted(seen)
        assert seen[-1] == TICKS
        assert len(set(seen)) > 1


async def test_a_match_without_statistics_is_404_and_wrong_ones_are_422(run) -> None:
    async with run("scoreboard") as example:
        assert (await example.client.get("/matches/none")).status_code == 404
        assert (await example.client.post("/matches/none/stats", json={"tick": "x"})).status_code == 422


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)  # the backends that outlive a process
async def test_after_a_sigkill_the_server_continues_where_it_was(run: Any, url: str) -> None:
    async with run("scoreboard", FIFOQ_LEASE="1") as example:
        for tick in range(1, 101):
            answer = await example.client.post("/matches/m/stats", json={"tick": tick, "goals": 0})
            assert answer.status_code == 202
        before = (await example.client.get("/matches/m")).json()["tick"]
        example.kill()
    assert before < 100, "all jobs were done before the kill: the test would prove nothing"
    async with run("scoreboard", FIFOQ_LEASE="1") as example:
        seen, deadline = list[int](), time.monotonic() + 30
        while (not seen or seen[-1] < 100) and time.monotonic() < deadline:
            answer = await example.client.get("/matches/m")
            seen += [answer.json()["tick"]] if answer.status_code == 200 else []
            await asyncio.sleep(0.03)
    # The scoreboard was lost with the process: it begins again with the interrupted job, or the job after it.
    assert before <= seen[0] <= seen[-1] == 100
    assert seen == sorted(seen)
