"""A worker that is frozen for longer than its lease: its job runs elsewhere, and it notices when it thaws."""

import asyncio
import random
import signal

import pytest

from fifoq.record import State
from fifoq.testing.history import Ended, Event, How, Settled, Started, read_logs
from tests.system.chaos.controller import Controller

LEASE = 0.4
JOB = "frozen-0"


async def freeze(controller: Controller, point: str, task: str, seconds: float) -> list[Event]:
    """
    One worker alone gets a job and is frozen at the point; another takes it, and the first thaws. Then the other one
    leaves, and the first does three more. Return the history.
    """
    controller.start("worker", "cold", point=point, strike="SIGSTOP", lease=LEASE)
    controller.start("producer", "p0", prefix="frozen", count=1, task=task, seconds=seconds)
    await controller.until(lambda: controller.heard("cold", "struck"), "the freezing")
    controller.start("worker", "warm", lease=LEASE)
    await controller.outrun("cold")
    await controller.until(controller.all_done)
    controller.signal("cold", signal.SIGCONT)
    if seconds > LEASE and task == "stay":
        await controller.until(lambda: controller.heard("cold", "cancelled"), "the end of its own work")
    await controller.stop("warm")
    controller.start("producer", "p1", prefix="more", count=3, keys=2)
    await controller.until(lambda: "p1" in controller.codes)
    await controller.until(controller.all_done)
    workers = {record.spec.id: record.worker async for record in controller.records()}
    assert workers == {JOB: "warm", "more-0": "cold", "more-1": "cold", "more-2": "cold"}
    await controller.stop("cold")
    await controller.prove(4)
    return list(read_logs(controller.folder))


def fences(history: list[Event], worker: str) -> set[int]:
    """Under which fences a worker had the job."""
    return {one.fence for one in history if isinstance(one, Started) and (one.job, one.worker) == (JOB, worker)}


async def test_a_frozen_worker_cancels_its_job_when_it_thaws(controller: Controller) -> None:
    history = await freeze(controller, "in task", "stay", 60.0)
    (told,) = controller.heard("cold", "cancelled")
    assert told["flag"], "ctx.cancelled says so too"
    assert "lease" in told["why"]
    assert max(fences(history, "cold")) < min(fences(history, "warm"))
    assert [one.how for one in history if isinstance(one, Ended) and one.fence in fences(history, "cold")] == [
        How.STOPPED
    ]


async def test_a_thread_of_a_frozen_worker_runs_on_under_a_fence_that_the_outer_store_refuses(
    controller: Controller,
) -> None:
    history = await freeze(controller, "in task", "grind", 0.01)
    assert [one.how for one in history if isinstance(one, Ended) and one.fence in fences(history, "cold")] == [
        How.RAISED
    ]


async def test_a_settlement_of_a_frozen_worker_is_refused(controller: Controller) -> None:
    history = await freeze(controller, "before settle", "play", 0.0)
    stale = fences(history, "cold")
    assert [one.state for one in history if isinstance(one, Settled) and one.fence in stale] == [None]


async def test_a_claim_that_arrives_after_its_lease_starts_nothing(controller: Controller) -> None:
    history = await freeze(controller, "after claim", "play", 0.0)
    assert fences(history, "cold") == set()


@pytest.mark.parametrize("point", ["before extend", "in extend"])
async def test_a_worker_frozen_in_its_heartbeat_finds_its_lease_lost(controller: Controller, point: str) -> None:
    await freeze(controller, point, "stay", 60.0)
    assert len(controller.heard("cold", "cancelled")) == 1


async def test_workers_frozen_at_any_moment_and_any_number_of_times_mix_up_nothing(
    controller: Controller, url: str
) -> None:
    """Each while it has jobs, and some while they hold the store's lock, if it has one: then all wait for them."""
    dice = random.Random(11)
    names = [f"w{number}" for number in range(4)]
    for name in names:
        controller.start("worker", name, lease=LEASE)
    for number in range(3):
        controller.start("producer", f"p{number}", count=150, keys=20, slow=0.3)

    async def has_jobs(name: str) -> bool:
        over = not controller.running("p") and await controller.all_done()
        return over or any([record.worker == name async for record in controller.records(State.RUNNING)])

    async def freeze_often(name: str) -> None:
        for _ in range(4):
            await asyncio.sleep(dice.uniform(0.05, 0.4))
            await controller.until(lambda: has_jobs(name))
            controller.signal(name, signal.SIGSTOP)
            await asyncio.sleep(dice.choice([0.1, LEASE, 1.5 * LEASE, 2.5 * LEASE]))
            controller.signal(name, signal.SIGCONT)

    await controller.until(lambda: all(controller.pids.get(name) for name in names))
    await asyncio.gather(*map(freeze_often, names))
    await controller.until(lambda: not controller.running("p"))
    await controller.until(controller.all_done)
    await controller.stop(*names)
    assert (await controller.prove(450)).in_doubt > 5, "leases were to run out"
