"""
A primary that is replaced by its replica: what had not reached the replica is lost, and nothing else.

Redis acknowledges a write before its replica has it. So a failover may lose acknowledged jobs, run some again and
forget claims; what survives stays in order, and a token whose claim was lost is refused.
"""

import asyncio
from uuid import uuid4

from fifoq.backends import connect
from fifoq.errors import BackendError
from fifoq.queue import Call, Queue
from fifoq.record import Claimed, JobSpec, Settlement, Succeed
from fifoq.testing.history import MemoryLog
from tests.servers import Sentinel
from tests.system.redis.workload import Load, assert_survivors_in_order, number_of


async def assert_carried_on(load: Load, log: MemoryLog) -> None:
    """Put some more. They are all there in the end, what survived is in order, and workers listen."""
    first = load.jobs
    await load.put(50)
    await load.all_ended()
    await load.attentive()
    records = await load.records()
    assert_survivors_in_order(records, log.events)
    assert set(range(first, first + 50)) <= {number_of(record) for record in records}
    assert (await load.queue.audit()).differences == ()


async def test_a_planned_failover_under_load_loses_no_order_and_no_worker(
    any_redis_sentinel: Sentinel, log: MemoryLog
) -> None:
    async with Load(any_redis_sentinel.url, log, work=0.01) as load, load.workers(2):
        await load.put(50)
        await load.flow(asyncio.to_thread(any_redis_sentinel.fail_over), pause=0.02)
        await assert_carried_on(load, log)


async def test_a_killed_primary_under_load_loses_no_order_and_no_worker(
    redis_sentinel: Sentinel, log: MemoryLog
) -> None:
    async with Load(redis_sentinel.url, log, work=0.01) as load, load.workers(2):
        await load.put(50)
        before = redis_sentinel.primary
        before.kill()
        await load.flow(asyncio.to_thread(redis_sentinel.await_failover, before.port), pause=0.02)
        await assert_carried_on(load, log)


async def test_a_token_whose_claim_was_lost_in_a_failover_is_refused(any_redis_sentinel: Sentinel) -> None:
    backend = connect(any_redis_sentinel.url)
    await backend.open()
    try:
        queue, caller = backend.queue("league"), uuid4().hex
        await queue.put(Call(caller, 1), [[JobSpec(f"job-{number}", "play", b"", key="m") for number in range(2)]])
        primary, replica = any_redis_sentinel.primary, any_redis_sentinel.replica
        with primary.client() as client:
            assert client.wait(1, 10_000) == 1
            replica.freeze()
            # What is on its way to the replica would arrive when it thaws: nothing must be on its way.
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        lost = (await queue.claim(Call(caller, 1), "worker", 1, 60_000_000, ["play"])).leases[0]
        primary.kill()
        replica.thaw()
        await asyncio.to_thread(any_redis_sentinel.await_failover, primary.port)
        [again] = (await claim_when_back(queue, caller)).leases
        assert again.spec.id == lost.spec.id == "job-0"
        stale = Settlement(lost.spec.id, lost.token, Succeed(b"", 0))
        assert await queue.settle(Call(caller, 1), [stale]) == (None,)
        fresh = Settlement(again.spec.id, again.token, Succeed(b"", 0))
        assert await queue.settle(Call(caller, 2), [fresh]) != (None,)
        assert (await queue.audit()).differences == ()
    finally:
        await backend.close()


async def claim_when_back(queue: Queue, caller: str) -> Claimed:
    """Claim, as often as the store cannot be reached yet."""
    while True:
        try:
            return await queue.claim(Call(caller, 2), "other", 1, 60_000_000, ["play"])
        except BackendError:
            await asyncio.sleep(0.05)
