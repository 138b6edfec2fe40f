"""Ended jobs leave nothing in memory: no line, gate, timer or reply."""

import gc

from fifoq.limits import Limit
from fifoq.queue import KEEP_REPLY
from fifoq.testing import Driver, ManualClock, spec
from fifoq_memory.jobs import Job
from fifoq_memory.queue import MemoryQueue
from fifoq_memory.queue_state import QueueState


def test_nothing_is_left_of_jobs_that_are_not_kept(driver: Driver, state: QueueState) -> None:
    driver.declare("task", limit=[Limit(50), Limit(1, by="tenant")])
    for number in range(200):
        driver.put(spec(f"k{number}", value=f"v{number % 7}", unique=f"u{number}", expires=60))
        driver.put(spec(f"k{number}", value=f"v{number % 7}", delay=60))
        driver.cancel(*(id for id in list(state.jobs) if state.jobs[id].spec.delay))
        for lease in driver.leases(5):
            driver.succeed(lease, retain=0)
    assert (state.jobs, state.lines, state.uniques, state.numbers.pages) == ({}, {}, {}, {})
    assert (state.tasks["task"].values, state.tasks["task"].ready.members) == ({}, {})
    assert (state.timers.times, state.purges.times, state.blocked.chunks) == ({}, {}, [])
    assert not [one for one in gc.get_objects() if isinstance(one, Job) and one.task is state.tasks["task"]]


def test_a_paused_key_keeps_its_line_until_it_is_resumed(driver: Driver, state: QueueState) -> None:
    driver.pause(key="k")
    assert list(state.lines) == ["k"]
    driver.resume(key="k")
    assert state.lines == {}


def test_replies_are_forgotten_after_an_hour(driver: Driver, queue: MemoryQueue, clock: ManualClock) -> None:
    driver.put(spec())
    driver.claim()
    replies = queue._puts, queue._claims
    clock.advance(KEEP_REPLY / 1e6 - 1)
    driver.purge()
    assert [len(one._last) for one in replies] == [1, 1]
    clock.advance(1)
    driver.purge()
    assert [len(one._last) for one in replies] == [0, 0]


def test_a_waiting_job_that_was_passed_is_counted_from_its_own_put(driver: Driver, clock: ManualClock) -> None:
    driver.put(spec(id="old"))
    clock.advance(10)
    driver.put(spec(id="new"))
    lease = driver.lease()
    assert driver.stats().oldest_waiting == 0
    driver.release(lease)
    clock.advance(1)
    assert driver.stats().oldest_waiting == 11_000_000
    assert driver.work() == ["old"]
    assert driver.stats().oldest_waiting == 1_000_000
