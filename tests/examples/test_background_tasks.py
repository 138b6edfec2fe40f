"""BackgroundTasks lose changes that fail, and keep no order; with fifoq every change arrives, in order."""

import asyncio
import time

VERSIONS, USERS = 12, ("ada", "bob", "eve")


async def push(client, way: str, user: str) -> None:
    for version in range(1, VERSIONS + 1):
        body = {"version": version, "email": f"{user}{version}@example.org"}
        assert (await client.post(f"/{way}/{user}", json=body)).status_code == 202


async def received(client, way: str, user: str) -> list[int]:
    return [profile["version"] for profile in (await client.get(f"/customers/{way}/{user}")).json()]


async def test_every_change_arrives_once_and_in_order_where_it_used_to_be_lost(run) -> None:
    async with run("background_tasks") as example:
        client = example.client
        await asyncio.gather(*(push(client, way, user) for way in ("before", "after") for user in USERS))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            after = [await received(client, "after", user) for user in USERS]
            if sum(map(len, after)) == VERSIONS * len(USERS):
                break
            await asyncio.sleep(0.05)
        before = [await received(client, "before", user) for user in USERS]
    assert after == [list(range(1, VERSIONS + 1))] * len(USERS)
    assert sum(map(len, before)) <= VERSIONS * len(USERS) * 2 // 3, "one in three fails, and is not retried"
