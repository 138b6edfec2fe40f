"""The scoreboard story: old statistics never overwrite newer ones, matches do not wait for each other."""

import asyncio
import time

MATCHES, TICKS = 8, 60


async def test_old_statistics_never_overwrite_newer_ones(run) -> None:
    async with run("scoreboard") as example:
        client = example.client

        async def push(match: int) -> None:
            for tick in range(1, TICKS + 1):
                answer = await client.post(f"/matches/m{match}/stats", json={"tick": tick, "goals": tick // 10})
                assert answer.status_code == 202
                assert answer.json()["job"]

        async def watch(match: int) -> list[int]:
            seen: list[int] = []
            deadline = time.monotonic() + 30
            while (not seen or seen[-1] < TICKS) and time.monotonic() < deadline:
                answer = await client.get(f"/matches/m{match}")
                seen += [answer.json()["tick"]] if answer.status_code == 200 else []
                await asyncio.sleep(0.01)
            return seen

        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(watch(match)) for match in range(MATCHES)]
            for match in range(MATCHES):
                group.create_task(push(match))
    for seen in (each.result() for each in watches):
        assert seen == sorted(seen)
        assert seen[-1] == TICKS
        assert len(set(seen)) > 1


async def test_a_match_without_statistics_is_404_and_wrong_ones_are_422(run) -> None:
    async with run("scoreboard") as example:
        assert (await example.client.get("/matches/none")).status_code == 404
        assert (await example.client.post("/matches/none/stats", json={"tick": "x"})).status_code == 422
