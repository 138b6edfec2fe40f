"""Puts of one Fifoq enter in call order, even if some are awaited together, cancelled, lost, or wait for room."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

import pytest

from fifoq.coalescer import RETRY_AFTER, Coalescer
from fifoq.errors import BackendFull, BackendUnavailable, IdConflict, OutcomeUnknown, QueueFull
from fifoq.limits import GateSettings
from fifoq.queue import Call, Conflict, Declare, Full, PutReply, Receipt, Setting
from fifoq.record import JobSpec


class FakeQueue:
    """A queue with only put and configure: it has a line, a capacity, replies to repeats, and planted faults."""

    name = "fake"

    def __init__(self) -> None:
        self.line: list[str] = []
        self.capacity = 10**9
        self.calls: list[tuple[Call, int]] = []
        self.settings: list[Setting] = []
        self.open = asyncio.Event()
        self.open.set()
        """While it is not set, puts stay in flight."""
        self.slow = False
        """Whether a put takes a turn of the loop."""
        self.faults: list[Exception] = []
        """Errors that the next puts raise, one each."""
        self.lost_replies = 0
        """The number of next puts that take effect and send no reply."""
        self._replies: dict[Call, tuple[PutReply, ...]] = {}

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        self.calls.append((call, len(batches)))
        if self.faults:
            raise self.faults.pop(0)
        if call not in self._replies:
            if self._replies and call.number <= max(each.number for each in self._replies):
                raise OutcomeUnknown("overtaken")
            self._replies[call] = tuple(self._enter(batch) for batch in batches)
        if self.lost_replies:
            self.lost_replies -= 1
            raise OutcomeUnknown("no reply")
        if self.slow:
            await asyncio.sleep(0)
        if not self.open.is_set():
            await self.open.wait()
        return self._replies[call]

    def _enter(self, batch: Sequence[JobSpec]) -> PutReply:
        if any(spec.id == "taken" for spec in batch):
            return Conflict("taken")
        if len(self.line) + len(batch) > self.capacity:
            return Full(None, self.capacity, len(self.line), len(batch))
        self.line += [spec.id for spec in batch]
        return tuple(Receipt(spec.id, True) for spec in batch)

    async def configure(self, settings: Sequence[Setting]) -> None:
        self.settings += settings


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def coalescer(queue: FakeQueue, monkeypatch: pytest.MonkeyPatch) -> Coalescer:
    monkeypatch.setattr("fifoq.coalescer.FIRST_PAUSE", 0.001)
    return Coalescer(queue, patience=5.0)  # type: ignore[arg-type]


def job(id: str, key: str | None = None, payload: bytes = b"") -> JobSpec:
    return JobSpec(id, "task", payload, key)


async def turns(n: int = 10) -> None:
    """Let the loop turn until no task can go on by itself."""
    for _ in range(n):
        await asyncio.sleep(0)


Put = asyncio.Task[tuple[Receipt, ...]]


class Begin(Protocol):
    """Begins to put a batch of these jobs, and returns the put once it is in flight, collected, or waits for room."""

    def __call__(self, *batch: JobSpec, wait: float = 0.0) -> Awaitable[Put]: ...


@pytest.fixture
def begin(coalescer: Coalescer) -> Begin:
    async def begin(*batch: JobSpec, wait: float = 0.0) -> Put:
        put = asyncio.create_task(coalescer.put(batch, wait))
        await turns()
        return put

    return begin


@pytest.fixture
async def in_flight(queue: FakeQueue, begin: Begin) -> Put:
    """The put of job "a", which stays in flight until `queue.open` is set."""
    queue.open.clear()
    return await begin(job("a"))


@pytest.fixture
def no_retries(coalescer: Coalescer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that wait for room are only tried again after a change."""
    monkeypatch.setattr("fifoq.coalescer.FIRST_PAUSE", 1_000)
    monkeypatch.setattr("fifoq.coalescer.LONGEST_PAUSE", 1_000)


async def test_an_idle_one_sends_in_the_callers_own_task_without_suspending(
    queue: FakeQueue, coalescer: Coalescer
) -> None:
    put = coalescer.put([job("a")])
    with pytest.raises(StopIteration) as returned:
        put.send(None)
    assert returned.value.value == (Receipt("a", True),)
    assert queue.line == ["a"]


async def test_puts_awaited_together_enter_in_call_order(queue: FakeQueue, coalescer: Coalescer) -> None:
    queue.open.clear()
    puts = asyncio.gather(*(coalescer.put([job(str(n))]) for n in range(100)))
    await turns()
    assert queue.line == ["0"]
    queue.open.set()
    receipts = await puts
    assert queue.line == [str(n) for n in range(100)]
    assert [each[0].id for each in receipts] == queue.line
    assert [batches for _, batches in queue.calls] == [1, 99]


async def test_after_a_crowd_all_calls_of_one_turn_enter_together_and_a_lone_one_at_once_again(
    queue: FakeQueue, coalescer: Coalescer
) -> None:
    async def crowd(name: str, n: int) -> list[int]:
        before = len(queue.calls)
        await asyncio.gather(*(coalescer.put([job(f"{name}{number}")]) for number in range(n)))
        return [batches for _, batches in queue.calls[before:]]

    queue.slow = True
    assert await crowd("a", 10) == [1, 9]
    assert await crowd("b", 10) == [10]
    assert await crowd("c", 1) == [1]
    queue.slow = False
    put = coalescer.put([job("d")])
    with pytest.raises(StopIteration):
        put.send(None)
    assert queue.line == [*(f"a{n}" for n in range(10)), *(f"b{n}" for n in range(10)), "c0", "d"]


async def test_batches_stay_separate(queue: FakeQueue, coalescer: Coalescer) -> None:
    queue.capacity = 4
    queue.open.clear()
    puts = asyncio.gather(
        coalescer.put([job("a")]),
        coalescer.put([job("b"), job("c")]),
        coalescer.put([job("d"), job("e")]),
        coalescer.put([job("f")]),
        return_exceptions=True,
    )
    await turns()
    queue.open.set()
    first, second, third, fourth = await puts
    assert isinstance(third, QueueFull)
    assert [first, second, fourth] == [
        (Receipt("a", True),),
        (Receipt("b", True), Receipt("c", True)),
        (Receipt("f", True),),
    ]
    assert queue.line == ["a", "b", "c", "f"]


async def test_one_put_is_bounded_by_jobs_and_by_bytes(
    queue: FakeQueue, coalescer: Coalescer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq.coalescer.MAX_JOBS", 3)
    monkeypatch.setattr("fifoq.coalescer.MAX_BYTES", 10)
    queue.open.clear()
    batches = [[job("a")], [job("b")], [job("c"), job("d")], [job("e"), job("f"), job("g"), job("h")]]
    batches += [[job("i", payload=b"x" * 6)], [job("j", payload=b"x" * 5)], [job("k", payload=b"x" * 50)], [job("l")]]
    puts = asyncio.gather(*(coalescer.put(batch) for batch in batches))
    await turns()
    queue.open.set()
    await puts
    assert queue.line == list("abcdefghijkl")
    assert [batches for _, batches in queue.calls] == [1, 2, 1, 1, 1, 1, 1]


async def test_a_put_whose_caller_was_cancelled_is_known_before_anything_later_is_sent(
    queue: FakeQueue, begin: Begin, in_flight: Put
) -> None:
    later = await begin(job("b"))
    in_flight.cancel()
    await turns()
    assert in_flight.cancelled()
    assert not later.done()
    queue.open.set()
    assert await later == (Receipt("b", True),)
    numbers = [call.number for call, _ in queue.calls]
    assert numbers == [1, 1, 2], "the same call, then the next"
    assert queue.line == ["a", "b"]


async def test_a_caller_cancelled_before_its_batch_was_sent_enqueues_nothing(
    queue: FakeQueue, begin: Begin, in_flight: Put
) -> None:
    second, third = await begin(job("b")), await begin(job("c"))
    second.cancel()
    await turns()
    queue.open.set()
    await asyncio.gather(in_flight, third)
    assert queue.line == ["a", "c"]


async def test_a_collected_put_goes_on_when_its_caller_is_cancelled_in_flight(
    queue: FakeQueue, begin: Begin, in_flight: Put
) -> None:
    second, third = await begin(job("b")), await begin(job("c"))
    queue.open.set()
    await in_flight
    queue.open.clear()
    await turns()
    assert queue.line == ["a", "b", "c"]
    second.cancel()
    await turns()
    queue.open.set()
    assert await third == (Receipt("c", True),)
    assert queue.line == ["a", "b", "c"]


async def test_a_call_whose_reply_was_lost_is_repeated_before_anything_later_is_sent(
    queue: FakeQueue, coalescer: Coalescer
) -> None:
    queue.lost_replies = 2
    receipts = await asyncio.gather(coalescer.put([job("a")]), coalescer.put([job("b")]))
    assert receipts == [(Receipt("a", True),), (Receipt("b", True),)]
    assert [call.number for call, _ in queue.calls] == [1, 1, 1, 2]
    assert queue.line == ["a", "b"]


async def test_an_unreachable_backend_is_tried_again_and_then_reported(queue: FakeQueue) -> None:
    impatient = Coalescer(queue, patience=0.0)  # type: ignore[arg-type]
    queue.faults = [BackendUnavailable("gone"), BackendUnavailable("gone")]
    with pytest.raises(BackendUnavailable):
        await impatient.put([job("a")])
    assert await impatient.put([job("b")]) == (Receipt("b", True),)
    assert queue.line == ["b"]


async def test_a_put_given_up_in_doubt_is_never_taken_for_a_later_one(queue: FakeQueue) -> None:
    impatient = Coalescer(queue, patience=0.0)  # type: ignore[arg-type]
    queue.lost_replies = 2
    with pytest.raises(OutcomeUnknown):
        await impatient.put([job("a")])
    assert await impatient.put([job("b")]) == (Receipt("b", True),)
    assert [call.number for call, _ in queue.calls] == [1, 1, 2]


async def test_another_error_is_raised_at_once_and_harms_no_later_put(queue: FakeQueue, coalescer: Coalescer) -> None:
    queue.faults = [BackendFull("disk")]
    first, second = await asyncio.gather(coalescer.put([job("a")]), coalescer.put([job("b")]), return_exceptions=True)
    assert isinstance(first, BackendFull)
    assert second == (Receipt("b", True),)


async def test_an_error_reaches_all_whose_batches_were_in_that_put(queue: FakeQueue, coalescer: Coalescer) -> None:
    queue.open.clear()
    puts = asyncio.gather(*(coalescer.put([job(id)]) for id in "abc"), return_exceptions=True)
    await turns()
    queue.faults = [BackendFull("disk")]
    queue.open.set()
    first, *others = await puts
    assert first == (Receipt("a", True),)
    assert [type(each) for each in others] == [BackendFull, BackendFull]


async def test_a_conflict_names_the_id(coalescer: Coalescer) -> None:
    with pytest.raises(IdConflict, match=r"'taken'.*Nothing was enqueued") as caught:
        await coalescer.put([job("taken")])
    assert caught.value.id == "taken"


async def test_a_full_queue_refuses_at_once_and_suggests_when_to_try_again(
    queue: FakeQueue, coalescer: Coalescer
) -> None:
    queue.capacity = 1
    await coalescer.put([job("a")])
    with pytest.raises(QueueFull, match="is full: 1 of 1 jobs, and 1 more were to enter") as caught:
        await coalescer.put([job("b")])
    assert caught.value.retry_after == RETRY_AFTER


async def test_a_batch_larger_than_the_capacity_is_refused_at_once_even_if_it_may_wait(
    queue: FakeQueue, coalescer: Coalescer
) -> None:
    queue.capacity = 1
    with pytest.raises(QueueFull, match="never fit") as caught:
        await coalescer.put([job("a"), job("b")], wait=1_000)
    assert caught.value.retry_after is None


async def test_a_put_that_waits_enters_when_there_is_room(queue: FakeQueue, coalescer: Coalescer) -> None:
    queue.capacity = 0
    waiting = asyncio.create_task(coalescer.put([job("a")], wait=1_000))
    queue.capacity = 1
    assert await waiting == (Receipt("a", True),)


async def test_a_put_that_waits_in_vain_is_refused(queue: FakeQueue, coalescer: Coalescer) -> None:
    queue.capacity = 1
    await coalescer.put([job("a")])
    with pytest.raises(QueueFull, match=r"It waited .* s for room"):
        await coalescer.put([job("b")], wait=0.01)
    queue.capacity = 5
    assert await coalescer.put([job("c")]) == (Receipt("c", True),)


async def test_a_put_whose_first_answer_comes_after_its_time_has_waited_all_the_same(
    queue: FakeQueue, coalescer: Coalescer
) -> None:
    queue.capacity = 1
    await coalescer.put([job("a")])
    queue.open.clear()
    waiting = asyncio.create_task(coalescer.put([job("b")], wait=0.01))
    await asyncio.sleep(0.05)
    queue.open.set()
    with pytest.raises(QueueFull, match=r"It waited .* s for room"):
        await waiting


async def test_a_put_that_waits_holds_back_later_ones_of_its_key_only(
    queue: FakeQueue, coalescer: Coalescer, begin: Begin
) -> None:
    queue.capacity = 1
    waiting = asyncio.create_task(coalescer.put([job("a1", "a"), job("a2", "a")], wait=1_000))
    with pytest.raises(QueueFull):
        await waiting
    queue.capacity = 2
    await coalescer.put([job("x")])
    waiting = await begin(job("a1", "a"), job("a2", "a"), wait=1_000)
    same_key = asyncio.create_task(coalescer.put([job("a3", "a")]))
    both_keys = asyncio.create_task(coalescer.put([job("a4", "a"), job("b1", "b")], wait=1_000))
    behind_that = asyncio.create_task(coalescer.put([job("b2", "b")]))
    tries = len(queue.calls) + 3
    while len(queue.calls) < tries:  # noqa: ASYNC110  # there is room for one job all the time, and the first in line are two
        await asyncio.sleep(0.001)
    assert await coalescer.put([job("c1", "c")]) == (Receipt("c1", True),)
    assert not any(each.done() for each in (waiting, same_key, both_keys, behind_that))
    queue.capacity = 100
    await asyncio.gather(waiting, same_key, both_keys, behind_that)
    assert queue.line == ["x", "c1", "a1", "a2", "a3", "a4", "b1", "b2"]


async def test_batches_collected_behind_one_that_has_to_wait_do_not_overtake_it(
    queue: FakeQueue, coalescer: Coalescer, in_flight: Put
) -> None:
    queue.capacity = 2
    waiting = asyncio.create_task(coalescer.put([job("a1", "a"), job("a2", "a")], wait=1_000))
    behind = asyncio.create_task(coalescer.put([job("a3", "a")]))
    other = asyncio.create_task(coalescer.put([job("b1", "b")]))
    await turns()
    queue.open.set()
    await asyncio.gather(in_flight, other)
    assert queue.line == ["a", "b1"]
    queue.capacity = 100
    await asyncio.gather(waiting, behind)
    assert queue.line == ["a", "b1", "a1", "a2", "a3"]


@pytest.mark.usefixtures("no_retries")
async def test_a_put_that_is_cancelled_while_it_waits_holds_back_no_other(
    queue: FakeQueue, coalescer: Coalescer, begin: Begin
) -> None:
    queue.capacity = 1
    await coalescer.put([job("x", "x")], wait=1_000)
    waiting = await begin(job("a1", "a"), wait=1_000)
    behind = await begin(job("a2", "a"), wait=1_000)
    waiting.cancel()
    queue.capacity = 2
    assert await behind == (Receipt("a2", True),)
    assert queue.line == ["x", "a2"]


async def test_settings_declared_later_are_written_before_the_next_put(queue: FakeQueue, coalescer: Coalescer) -> None:
    setting = Declare("task", GateSettings(limit=1))
    coalescer.declare(setting)
    assert queue.settings == []
    await coalescer.put([job("a")])
    await coalescer.put([job("b")])
    assert queue.settings == [setting]


async def test_settings_declared_later_are_written_without_a_put_after_the_one_in_flight(
    queue: FakeQueue, coalescer: Coalescer, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    setting = Declare("task", GateSettings(limit=1))
    queue.open.clear()
    in_flight = await begin(job("a"))
    coalescer.declare(setting)
    coalescer.send_settings()
    coalescer.send_settings()
    await turns()
    assert queue.settings == []
    queue.open.set()
    await in_flight
    async with asyncio.timeout(10):
        while not queue.settings:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
    assert queue.settings == [setting]
    assert caplog.records == []


async def test_settings_that_the_store_does_not_take_are_tried_again_and_reported_once(
    queue: FakeQueue, coalescer: Coalescer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq.coalescer.RETRY_AFTER", 0.001)
    setting, take, tries = Declare("task", GateSettings(limit=1)), queue.configure, 0

    async def refuse(settings: Sequence[Setting]) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise BackendUnavailable("cut off")
        await take(settings)

    monkeypatch.setattr(queue, "configure", refuse)
    coalescer.declare(setting)
    coalescer.send_settings()
    async with asyncio.timeout(10):
        while not queue.settings:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
    assert queue.settings == [setting]
    assert len(caplog.records) == 1
    await coalescer.close()


async def test_closing_waits_for_puts_in_flight_and_refuses_those_that_wait_for_room(
    queue: FakeQueue, coalescer: Coalescer, begin: Begin
) -> None:
    queue.capacity = 2
    await coalescer.put([job("a"), job("b")], wait=1_000)
    waiting = await begin(job("c"), wait=1_000)
    await coalescer.close()
    with pytest.raises(QueueFull):
        await waiting
    queue.capacity = 100
    queue.open.clear()
    first, second = await begin(job("d")), await begin(job("e"))
    first.cancel()
    await turns()
    closing = asyncio.create_task(coalescer.close())
    await turns()
    assert not closing.done()
    queue.open.set()
    await closing
    assert await second == (Receipt("e", True),)
    assert queue.line == ["a", "b", "d", "e"]


async def test_closing_waits_for_a_put_in_its_callers_own_task(
    queue: FakeQueue, coalescer: Coalescer, in_flight: Put
) -> None:
    closing = asyncio.create_task(coalescer.close())
    await turns()
    assert not closing.done()
    queue.open.set()
    await closing
    assert await in_flight == (Receipt("a", True),)


@pytest.mark.usefixtures("no_retries")
async def test_a_change_of_another_key_lets_no_put_overtake(
    queue: FakeQueue, coalescer: Coalescer, begin: Begin
) -> None:
    queue.capacity = 2
    await coalescer.put([job("x")])
    waiting = asyncio.create_task(coalescer.put([job("a1", "a"), job("a2", "a")], wait=10_000))
    other = asyncio.create_task(coalescer.put([job("b1", "b"), job("b2", "b")], wait=10_000))
    await turns()
    behind = await begin(job("a3", "a"))
    other.cancel()
    await turns()
    assert queue.line == ["x"]
    waiting.cancel()
    assert await behind == (Receipt("a3", True),)
