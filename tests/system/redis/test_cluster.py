"""A queue whose slot moves from node to node while jobs come and go: workers carry on, in order."""

import asyncio
import threading

from fifoq.testing.history import MemoryLog
from tests.servers import Cluster
from tests.system.redis.workload import QUEUE, Load


def slot_of(cluster: Cluster) -> int:
    """The slot in which the queue lives: all its keys have one hash tag, which holds its name."""
    with cluster.client() as client:
        keys = [key.decode() for key in client.scan_iter(match=f"*{QUEUE}*", target_nodes="primaries")]
    slots = {cluster.slot(key) for key in keys}
    assert len(slots) == 1, f"a queue must live in one slot: {keys}"
    return slots.pop()


async def test_a_slot_that_moves_under_load_stops_nobody_and_mixes_nothing_up(
    redis_cluster: Cluster, log: MemoryLog
) -> None:
    def move_three_times() -> None:
        for _ in range(3):
            redis_cluster.move(slot_of(redis_cluster), pause=0.001)
            threading.Event().wait(0.2)

    async with Load(redis_cluster.url, log, lease=2.0) as load, load.workers(2):
        await load.put(100)
        await load.flow(asyncio.to_thread(move_three_times))
        await load.put(50)
        await load.all_ended()
        await load.attentive()
        report = await load.prove()
    assert not load.troubles
    assert report.attempts == load.jobs
