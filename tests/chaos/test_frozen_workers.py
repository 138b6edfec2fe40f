"""A worker that is frozen for longer than its lease: its job runs elsewhere, and it notices when it thaws."""

import asyncio
import random
import signal

import pytest

from fifoq.testing.history import Ended, Event, How, Settled, Started, read_logs
from tests.chaos.conductor import Conductor

LEASE = 0.4
JOB = "frozen-0"


async def freeze(conductor: Conductor, point: str, task: str, seconds: float) -> list[Event]:
    """
    One worker alone gets a job and is frozen at the point; another takes it, and the first thaws. Then the other one
    leaves, and the first does three more. Return the history.
    """
    conductor.start("worker", "cold", point=point, strike="SIGSTOP", lease=LEASE)
    conductor.start("producer", "p0", prefix="frozen", count=1, task=task, seconds=seconds)
    await conductor.until(lambda: conductor.heard("cold", "struck"), "the freezing")
    conductor.start("worker", "warm", lease=LEASE)
    await conductor.outrun("cold")
    await conductor.until(conductor.all_done)
    conductor.signal("cold", signal.SIGCONT)
    if seconds > LEASE and task == "stay":
        await conductor.until(lambda: conductor.heard("cold", "cancelled"), "the end of its own work")
    await conductor.stop("warm")
    conductor.start("producer", "p1", prefix="more", count=3, keys=2)
    await conductor.until(lambda: "p1" in conductor.codes)
    await conductor.until(conductor.all_done)
    workers = {record.spec.id: record.worker async for record in conductor.records()}
    assert workers == {JOB: "warm", "more-0": "cold", "more-1": "cold", "more-2": "cold"}
    await conductor.stop("cold")
    await conductor.prove(4)
    return list(read_logs(conductor.folder))


def fences(history: list[Event], worker: str) -> set[int]:
    """Under which fences a worker had the job."""
    return {one.fence for one in history if isinstance(one, Started) and (one.job, one.worker) == (JOB, worker)}


async def test_a_frozen_worker_cancels_its_job_when_it_thaws(conductor: Conductor) -> None:
    history = await freeze(conductor, "in task", "stay", 60.0)
    (told,) = conductor.heard("cold", "cancelled")
    assert told["flag"], "ctx.cancelled says so too"
    assert "lease" in told["why"]
    assert max(fences(history, "cold")) < min(fences(history, "warm"))
    assert [one.how for one in history if isinstance(one, Ended) and one.fence in fences(history, "cold")] == [
        How.STOPPED
    ]


async def test_a_thread_of_a_frozen_worker_runs_on_under_a_fence_that_the_outer_store_refuses(
    conductor: Conductor,
) -> None:
    history = await freeze(conductor, "in task", "grind", 0.01)
    assert [one.how for one in history if isinstance(one, Ended) and one.fence in fences(history, "cold")] == [
        How.RAISED
    ]


async def test_a_settlement_of_a_frozen_worker_is_refused(conductor: Conductor) -> None:
    history = await freeze(conductor, "before settle", "play", 0.0)
    stale = fences(history, "cold")
    assert [one.state for one in history if isinstance(one, Settled) and one.fence in stale] == [None]


async def test_a_claim_that_arrives_after_its_lease_starts_nothing(conductor: Conductor) -> None:
    history = await freeze(conductor, "after claim", "play", 0.0)
    assert fences(history, "cold") == set()


@pytest.mark.parametrize("point", ["before extend", "in extend"])
async def test_a_worker_frozen_in_its_heartbeat_finds_its_lease_lost(conductor: Conductor, point: str) -> None:
    await freeze(conductor, point, "stay", 60.0)
    assert len(conductor.heard("cold", "cancelled")) == 1


async def test_workers_frozen_at_any_moment_and_any_number_of_times_mix_up_nothing(
    conductor: Conductor, url: str
) -> None:
    """Some of them while they hold the store's lock, if it has one: then all wait for them."""
    dice = random.Random(11)
    names = [f"w{number}" for number in range(4)]
    for name in names:
        conductor.start("worker", name, lease=LEASE)
    for number in range(3):
        conductor.start("producer", f"p{number}", count=150, keys=20, slow=0.1)

    async def freeze_often(name: str) -> None:
        for _ in range(4):
            await asyncio.sleep(dice.uniform(0.05, 0.4))
            conductor.signal(name, signal.SIGSTOP)
            await asyncio.sleep(dice.choice([0.1, LEASE, 1.5 * LEASE, 2.5 * LEASE]))
            conductor.signal(name, signal.SIGCONT)

    await conductor.until(lambda: all(conductor.pids.get(name) for name in names))
    await asyncio.gather(*map(freeze_often, names))
    await conductor.until(lambda: not conductor.running("p"))
    await conductor.until(conductor.all_done)
    await conductor.stop(*names)
    assert (await conductor.prove(450)).in_doubt > 5, "leases were to run out"
