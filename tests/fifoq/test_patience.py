"""Patience counts from the call: the last of any number of calls is over within its own time. On a virtual clock."""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fifoq import calls, coalescer
from fifoq.coalescer import Coalescer
from fifoq.errors import BackendBusy, BackendUnavailable, FifoqError, OutcomeUnknown
from fifoq.queue import Call, PutReply, Receipt
from fifoq.record import JobSpec


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time runs only while nothing is left to do: to the next timer, at once."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def jump(timeout: float | None) -> Any:
            found = select(0)
            if not found and timeout:
                self.now += timeout
            return found

        selector.select = jump

    def time(self) -> float:
        return self.now


class Store:
    """A store that answers each put in one way, within its timeout at the latest. It keeps the jobs that entered."""

    name = "queue"

    def __init__(self, way: str, timeout: float, answers_again: float) -> None:
        self.way, self.timeout, self.answers_again = way, timeout, answers_again
        self.entered: set[str] = set()
        self.replies: dict[int, tuple[PutReply, ...]] = {}

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        way = self.way if asyncio.get_running_loop().time() < self.answers_again else "answers"
        match way:
            case "hangs":
                await asyncio.sleep(self.timeout)
                raise OutcomeUnknown("no reply")
            case "is away":
                await asyncio.sleep(self.timeout)
                raise BackendUnavailable("no connection")
            case "refuses":
                raise BackendBusy("busy")
            case "loses replies":
                self._enter(call, batches)
                await asyncio.sleep(self.timeout)
                raise OutcomeUnknown("no reply")
            case "drips":
                await asyncio.sleep(0.9 * self.timeout)
            case _:
                pass
        return self._enter(call, batches)

    def _enter(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        if call.number not in self.replies:
            self.entered |= {spec.id for batch in batches for spec in batch}
            self.replies[call.number] = tuple(tuple(Receipt(spec.id, True) for spec in batch) for batch in batches)
        return self.replies[call.number]

    async def configure(self, _: object) -> None: ...


Over = tuple[float, Exception | None]
"""How long a call took, and its error."""


async def enqueue(store: Store, patience: float, at: Sequence[float], size: int) -> list[Over]:
    puts = Coalescer(store, patience)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()

    async def one(number: int, at: float) -> Over:
        await asyncio.sleep(at)
        began = loop.time()
        try:
            await puts.put([JobSpec(str(number), "task", bytes(size))])
        except FifoqError as error:
            return loop.time() - began, error
        return loop.time() - began, None

    return await asyncio.gather(*(one(number, each) for number, each in enumerate(at)))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that runs a coroutine function on a virtual clock."""

    def run(function: Callable[..., Any], *arguments: Any) -> Any:
        loop = VirtualLoop()
        clock = SimpleNamespace(monotonic=loop.time)
        with monkeypatch.context() as patch:
            patch.setattr(coalescer, "time", clock)
            patch.setattr(calls, "time", clock)
            try:
                return loop.run_until_complete(function(*arguments))
            finally:
                loop.close()

    return run


WAYS = ("hangs", "is away", "refuses", "loses replies", "drips")


@given(
    way=st.sampled_from(WAYS),
    timeout=st.floats(0.1, 5.0),
    patience=st.floats(0.1, 8.0),
    answers_again=st.one_of(st.just(float("inf")), st.floats(0.0, 20.0)),
    at=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40),
    at_once=st.sampled_from([0, 30, 300]),
    size=st.sampled_from([1, 200_000, 2_000_000]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_call_is_over_within_its_patience_and_one_timeout(
    run: Callable[..., Any],
    way: str,
    timeout: float,
    patience: float,
    answers_again: float,
    at: list[float],
    at_once: int,
    size: int,
) -> None:
    store = Store(way, timeout, answers_again)
    over: list[Over] = run(enqueue, store, patience, [0.0] * at_once + at, size)
    assert max(seconds for seconds, _ in over) <= patience + timeout + 0.001
    for number, (_, error) in enumerate(over):
        if error is None:
            assert str(number) in store.entered
        elif not isinstance(error, OutcomeUnknown):
            assert str(number) not in store.entered, f"{error!r}, and it entered"


@pytest.mark.parametrize("way", WAYS[:4])
@pytest.mark.parametrize("count", [1, 60, 3000])
def test_without_patience_each_call_is_over_after_one_timeout(run: Callable[..., Any], way: str, count: int) -> None:
    store = Store(way, 1.0, float("inf"))
    over: list[Over] = run(enqueue, store, 0.0, [0.0] * count, 200_000)
    assert all(error is not None for _, error in over)
    assert max(seconds for seconds, _ in over) <= 2.0


def test_a_store_that_is_back_takes_all_that_came_in_time(run: Callable[..., Any]) -> None:
    over: list[Over] = run(enqueue, Store("is away", 1.0, 2.5), 10.0, [0.1 * n for n in range(50)], 200_000)
    assert [error for _, error in over if error is not None] == []


@pytest.mark.parametrize("way", WAYS[:4])
def test_a_call_alone_begins_no_try_after_its_patience(run: Callable[..., Any], way: str) -> None:
    for timeout, patience in [(1.0, 2.0), (3.0, 1.0), (1.0, 1.5)]:
        ((seconds, error),) = run(enqueue, Store(way, timeout, float("inf")), patience, [0.0], 1)
        assert error is not None
        assert seconds <= (patience + timeout if timeout < patience else timeout) + 0.001


def test_a_call_that_failed_does_not_enter_with_a_later_one_of_its_put(run: Callable[..., Any]) -> None:
    store = Store("refuses", 1.0, 3.0)
    over: list[Over] = run(enqueue, store, 2.0, [0.0, 0.1, 1.5], 1)
    assert [type(error) for _, error in over] == [BackendBusy, BackendBusy, type(None)]
    assert store.entered == {"2"}
