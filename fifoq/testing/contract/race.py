"""Contract, points 1, 2, 8, 11, 13 and 17 under real concurrency: several backends, threads and loops at once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fifoq.limits import Limit
from fifoq.queue import Call, Full
from fifoq.record import Lease, State
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import LEASE, TASK, Driver, spec

THREADS = 4


def at_once(driver: Driver, work: Callable[[Driver, int], None]) -> None:
    """Run `work` on several threads, each with a driver of its own: its backend, its loop."""
    ready = threading.Barrier(THREADS)

    def run(number: int) -> None:
        mine = Driver(driver.backend.twin(), driver.queue.name)
        try:
            ready.wait(60)
            work(mine, number)
        finally:
            mine.close()

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(run, number) for number in range(THREADS)]:
            future.result(120)


class RaceCases(Cases):
    """Points 1, 2, 8, 11, 13 and 17, raced."""

    def test_raced_claims_never_take_a_job_twice(self, driver: Driver) -> None:
        ids = driver.put(*(spec() for _ in range(300)))
        taken: list[str] = []

        def work(mine: Driver, _: int) -> None:
            while claimed := mine.claim(3):
                taken.extend(claimed)

        at_once(driver, work)
        assert sorted(taken) == sorted(ids)

    def test_raced_workers_keep_each_keys_order_and_never_overlap_in_it(self, driver: Driver) -> None:
        keys = {id: f"k{number % 5}" for number, id in enumerate(f"{number:03}" for number in range(150))}
        driver.put(*(spec(key, id=id) for id, key in keys.items()))
        log: list[tuple[str, Lease]] = []

        def work(mine: Driver, _: int) -> None:
            while len(log) < 2 * len(keys):
                for lease in mine.leases(3):
                    log.append(("claimed", lease))
                    # Logged before it is sent: a successor that is claimed now cannot precede it in the log.
                    log.append(("settled", lease))
                    mine.succeed(lease)

        at_once(driver, work)
        for key in set(keys.values()):
            events = [(event, lease.spec.id) for event, lease in log if keys[lease.spec.id] == key]
            assert events == [(event, id) for id in sorted(keys) if keys[id] == key for event in ("claimed", "settled")]
        claimed = {lease.fence for event, lease in log if event == "claimed"}
        assert claimed == set(range(1, len(keys) + 1))

    def test_raced_workers_never_exceed_a_limit(self, driver: Driver) -> None:
        driver.declare(limit=5)
        driver.declare("task", limit=[Limit(4), Limit(2, by="tenant")])
        driver.put(*(spec(id=f"{number}", value=f"v{number % 3}") for number in range(200)))
        gauge, peaks = Counter[str](), Counter[str]()
        lock = threading.Lock()
        done: list[str] = []

        def count(lease: Lease, change: int) -> None:
            with lock:
                for name in ("all", str(lease.spec.value)):
                    gauge[name] += change
                    peaks[name] = max(peaks[name], gauge[name])

        def work(mine: Driver, _: int) -> None:
            while len(done) < 200:
                leases = mine.leases(3)
                for lease in leases:
                    count(lease, 1)
                for lease in leases:
                    count(lease, -1)
                    mine.succeed(lease)
                    done.append(lease.spec.id)

        at_once(driver, work)
        assert peaks["all"] <= 4
        assert max(peaks["v0"], peaks["v1"], peaks["v2"]) <= 2
        assert len(set(done)) == len(done) == 200

    def test_raced_puts_each_enter_whole_and_in_their_callers_order(self, driver: Driver) -> None:
        def work(mine: Driver, number: int) -> None:
            for turn in range(25):
                mine.put(*(spec(f"k{number}", id=f"{number}-{turn:02}-{place}") for place in range(3)))

        at_once(driver, work)
        records = driver.find()
        assert [record.entry for record in records] == list(range(1, THREADS * 75 + 1))
        batches = [[record.spec.id[:-2] for record in records[start : start + 3]] for start in range(0, 300, 3)]
        assert all(len(set(batch)) == 1 for batch in batches), "a batch was torn apart"
        for number in range(THREADS):
            ids = [record.spec.id for record in records if record.spec.key == f"k{number}"]
            assert ids == sorted(ids)

    @pytest.mark.parametrize("by", ["id", "unique"])
    def test_raced_puts_of_one_id_or_unique_text_create_one_job(self, driver: Driver, by: str) -> None:
        created: list[str] = []

        def work(mine: Driver, number: int) -> None:
            for turn in range(25):
                one = spec(id=f"{turn}") if by == "id" else spec(id=f"{turn}-{number}", unique=f"u{turn}")
                created.extend(f"{turn}" for receipt in mine.receipts(one) if receipt.created)

        at_once(driver, work)
        assert sorted(created) == sorted(f"{turn}" for turn in range(25))
        assert driver.stats().accepted == 25

    def test_raced_puts_never_exceed_a_capacity(self, driver: Driver) -> None:
        driver.declare(capacity=30)

        def work(mine: Driver, _: int) -> None:
            while not isinstance(mine.put_reply(spec(), spec()), Full):
                pass

        at_once(driver, work)
        assert driver.stats().waiting == 30

    def test_of_raced_settles_of_one_lease_one_counts(self, driver: Driver) -> None:
        driver.put(*(spec() for _ in range(30)))
        leases = driver.leases(30)
        replies: list[tuple[str, State | None]] = []

        def work(mine: Driver, number: int) -> None:
            end = (mine.succeed, mine.fail, mine.retry, mine.release)[number % 4]
            replies.extend((lease.spec.id, end(lease)) for lease in leases)

        at_once(driver, work)
        counted = {id: state for id, state in replies if state is not None}
        assert sum(state is not None for _, state in replies) == 30
        assert driver.states(*counted) == list(counted.values())

    def test_a_raced_repeat_of_one_call_takes_effect_once(self, driver: Driver) -> None:
        driver.put(*(spec() for _ in range(100)))
        replies: list[tuple[int, tuple[Lease, ...]]] = []

        def work(mine: Driver, number: int) -> None:
            for turn in range(10):
                reply = mine.claim_reply(2, call=Call(f"caller-{turn}", 1))
                replies.append((turn, reply.leases))

        at_once(driver, work)
        assert len(set(replies)) == 10
        assert driver.stats().running == 20

    def test_raced_cancels_and_claims_agree_on_every_job(self, driver: Driver) -> None:
        ids = driver.put(*(spec(f"k{number % 10}", retain=LEASE) for number in range(120)))
        ran: list[str] = []
        cancelled: list[str] = []

        def work(mine: Driver, number: int) -> None:
            if number % 2:
                gone = (State.CANCELLED, True, None)
                cancelled.extend(id for id in reversed(ids) if mine.cancel(id)[0] == gone)
            else:
                while done := mine.work(2):
                    ran.extend(done)

        at_once(driver, work)
        ran += driver.drain()
        states = dict(zip(ids, driver.states(*ids), strict=True))
        assert sorted(ran) == sorted(id for id, state in states.items() if state is State.SUCCEEDED)
        assert sorted(ran + cancelled) == sorted(ids)

    def test_calls_awaited_together_on_one_loop_are_each_atomic(self, driver: Driver) -> None:
        async def together() -> list[str]:
            puts = (driver.queue.put(driver.call(), [[spec("k"), spec()]]) for _ in range(20))
            claims = (driver.queue.claim(Call(f"c{number}", 1), "w", 2, LEASE, [TASK]) for number in range(20))
            replies = await asyncio.gather(*puts, *claims)
            return [lease.spec.id for reply in replies[20:] for lease in reply.leases]  # type: ignore[union-attr]

        taken = driver.run(together())
        assert len(set(taken)) == len(taken)
        assert driver.stats().running == len(taken)


class CancelledCallCases(Cases):
    """Point 13: a caller that cancels a call and repeats it has lost nothing."""

    @pytest.mark.parametrize("steps", range(6))
    def test_a_cancelled_claim_repeated_hands_out_its_jobs(self, driver: Driver, steps: int) -> None:
        ids = driver.put(*(spec(f"k{number}") for number in range(4)))
        call = driver.call()

        async def cancelled() -> None:
            await _cut_off(driver.queue.claim(call, "worker", 2, LEASE, [TASK]), steps)

        driver.run(cancelled())
        reply = driver.claim_reply(2, call=call)
        assert [lease.spec.id for lease in reply.leases] == ids[:2]
        assert [driver.succeed(lease) for lease in reply.leases] == [State.SUCCEEDED] * 2
        assert driver.drain() == ids[2:]

    @pytest.mark.parametrize("steps", range(6))
    def test_a_cancelled_put_repeated_enters_once(self, driver: Driver, steps: int) -> None:
        call, batch = driver.call(), [spec(), spec()]

        async def cancelled() -> None:
            await _cut_off(driver.queue.put(call, [batch]), steps)

        driver.run(cancelled())
        driver.put_batches(batch, call=call)
        assert driver.stats().accepted == 2
        assert driver.drain() == [one.id for one in batch]

    def test_a_cancelled_wait_leaves_the_queue_usable(self, driver: Driver) -> None:
        async def cancelled() -> None:
            for steps in range(4):
                await _cut_off(driver.queue.wait(60), steps)
                await _cut_off(driver.queue.finished("a", 60), steps)

        driver.put(spec(id="a"))
        driver.run(cancelled())
        assert driver.drain() == ["a"]


async def _cut_off(call: Coroutine[Any, Any, Any], steps: int) -> None:
    """Start a call and cancel it after `steps` turns of the loop."""
    task = asyncio.ensure_future(call)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
