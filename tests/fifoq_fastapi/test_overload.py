"""Requests beyond the capacity are refused at once; the others get their results."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI

from fifoq import Fifoq, Limit
from fifoq_fastapi import install_errors, lifespan

CAPACITY, CROWD = 320, 2_000
ENOUGH = 24 * 2**20
"""Bytes by which the memory of the process may grow from the first crowd to the last."""


class Answer(NamedTuple):
    status: int
    retry_after: str | None
    body: object


async def test_exactly_those_beyond_the_capacity_are_refused_and_memory_stays_flat(serve, url: str) -> None:
    tasks, go_on = Fifoq(url), asyncio.Event()

    @tasks.task(capacity=CAPACITY, limit=Limit(32), retain=0)
    async def work(number: int) -> int:
        await go_on.wait()
        return number

    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    install_errors(app)

    @app.get("/work/{number}")
    async def route(number: int) -> int:
        return await work.call(number)

    sizes: list[int] = []
    async with serve(app) as client:
        # The memory of the app itself is measured on one backend; the others keep their jobs elsewhere.
        for _ in range(2 if url == "memory://" else 1):
            go_on.clear()
            crowd = [asyncio.create_task(send(client.base_url.port, number)) for number in range(CROWD)]
            await settled(crowd, CROWD - CAPACITY)
            refused = [each.result() for each in crowd if each.done()]
            accepted = {number: each for number, each in enumerate(crowd) if not each.done()}
            go_on.set()
            check(refused, {number: await each for number, each in accepted.items()})
            sizes.append(resident())
    assert sizes[-1] - sizes[0] < ENOUGH, sizes


def check(refused: list[Answer], accepted: dict[int, Answer]) -> None:
    assert Counter(answer.status for answer in refused) == {503: CROWD - CAPACITY}
    assert all(int(answer.retry_after or 0) >= 1 for answer in refused)
    assert len(accepted) == CAPACITY
    assert all((answer.status, answer.body) == (200, number) for number, answer in accepted.items())


async def settled(answers: list["asyncio.Task[Answer]"], refusals: int) -> None:
    """Wait until `refusals` requests have been answered, and a moment longer: no other request may be."""
    async with asyncio.timeout(150):
        while sum(each.done() for each in answers) < refusals:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)


async def send(port: int | None, number: int) -> Answer:
    """Send one request on its own connection, without httpx: two thousand clients of httpx would be the load."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /work/{number} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    head, _, body = text.partition("\r\n\r\n")
    retry_after = re.search(r"^retry-after: (\d+)", head, re.MULTILINE | re.IGNORECASE)
    return Answer(int(head.split()[1]), retry_after and retry_after[1], json.loads(body))


def resident() -> int:
    """Return the resident memory of this process in bytes, or 0 where it cannot be read."""
    status = Path("/proc/self/status")
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(match[1]) * 1024 if match else 0
