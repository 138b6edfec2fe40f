"""Somebody else keeps the store's lock: callers are told so, nobody hangs, no lease is lost that need not be."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from fifoq import BackendBusy, Fifoq
from tests.system.chaos.controller import LONG, Controller, held


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db?synchronous=normal&timeout=1"


@pytest.mark.parametrize("kind", ["sqlite", "lock", "turn"])
async def test_a_lock_shorter_than_the_lease_costs_nobody_a_lease(
    controller: Controller, url: str, tmp_path: Path, kind: str
) -> None:
    """A worker runs into it with its hands full, and a user with a call; when it is over both go on."""
    controller.start("worker", "w", lease=10.0)
    controller.start("producer", "p", count=100, keys=5, lease=0.5, slow=0.3)
    async with Fifoq(url, patience=0.2) as tasks:

        @tasks.task(queue="chaos")
        async def anything() -> None: ...

        await controller.until(lambda: not controller.running("p"))
        await controller.until(controller.any_done)
        async with held(tmp_path / "jobs.db", kind):
            with pytest.raises(BackendBusy, match="locked by others"):
                await anything.enqueue()
            await asyncio.sleep(1.5)
    await controller.until(controller.all_done)
    await controller.stop("w")
    assert (await controller.prove(100)).attempts == 100


# ---- for thirty seconds, as long as issue 3 says


@pytest.mark.parametrize("kind", ["sqlite", "lock"])
async def test_thirty_seconds_of_a_foreign_lock_are_a_busy_store_and_then_all_goes_on(
    thirty_seconds: dict[str, "subprocess.Popen[str]"], kind: str
) -> None:
    out, _ = await asyncio.to_thread(thirty_seconds[kind].communicate, timeout=LONG)
    seen = json.loads(out)
    assert set(seen["errors"]) == {"BackendBusy"}, seen
    assert seen["longest_call"] < 28.0, (
        "the first try takes 5 s, then there are 10 s of patience, then the last one's 5 s"
    )
    assert max(seen["gap"], seen["worker_gap"]) < 4.0, "no loop waits for the lock: its timeout is 5 s"
    assert seen["stored"] == seen["acknowledged"] > 2
    # What stayed was stopped before its lease could be over, and put back unharmed, or ran out while nobody could say.
    assert len(seen["cancelled"]) == 1
    assert "lease" in seen["cancelled"][0]
    assert {id: state for id, (_, _, state) in seen["attempts"].items()} == {"p-0": "succeeded", "q-0": "succeeded"}
    assert seen["differences"] == []
