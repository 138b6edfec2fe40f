"""Producers are killed between the commit and the reply, and at any moment; they start again, and say it all again."""

import asyncio
import random
import signal
from collections import defaultdict

from tests.kill_points import INNER
from tests.system.chaos.controller import Controller

COUNT, KILLS = 60, 3
POINTS = ("before put", "in put", "after put", "anywhere")


async def test_a_killed_producer_loses_nothing_acknowledged_and_repeats_without_a_trace(
    controller: Controller, url: str
) -> None:
    """Each is killed some times on its way, begins again from the first job, with the same ids, and gets through."""
    dice = random.Random(3)
    points = [point for point in (*POINTS, *INNER.get(url.partition(":")[0], ())) for _ in range(2)]
    for name in ("w0", "w1"):
        controller.start("worker", name, concurrency=20, lease=15.0)

    async def live(number: int, point: str) -> None:
        flight = 2 + 3 * (number % 2)  # what is awaited together becomes one put or two
        order = {"prefix": f"job{number}", "count": COUNT, "keys": 9, "slow": 0.02, "flight": flight}
        for life in range(KILLS):
            name = f"p{number}.{life}"
            controller.start("producer", name, point=point, nth=dice.randint(1, 2 * (4 + 12 * life) // flight), **order)
            if point == "anywhere":
                await controller.until(lambda name=name: controller.pids.get(name, 1))
                await asyncio.sleep(dice.uniform(0.01, 0.1))
                controller.signal(name, signal.SIGKILL)
            await controller.until(lambda name=name: name in controller.codes, f"the death of {name}")
        controller.start("producer", f"p{number}.{KILLS}", **order)
        await controller.until(lambda: f"p{number}.{KILLS}" in controller.codes)
        assert controller.codes[f"p{number}.{KILLS}"] == 0

    await asyncio.gather(*(live(number, point) for number, point in enumerate(points)))
    await controller.until(controller.all_done)
    await controller.stop("w0", "w1")
    assert controller.killed >= len(points) * KILLS * 0.8, "producers were to be killed"
    report = await controller.prove(len(points) * COUNT)
    assert report.attempts == len(points) * COUNT, "no worker died, so nothing was to run twice"

    entries: dict[str, list[int]] = defaultdict(list)
    async for record in controller.records():
        prefix, _, number = record.spec.id.partition("-")
        entries[prefix].append(int(number))
    assert entries == {f"job{number}": list(range(COUNT)) for number in range(len(points))}
