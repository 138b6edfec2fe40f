"""A backend that goes away and comes back, and one that loses replies: nobody can tell afterwards."""

import asyncio
import logging
from typing import Any

import pytest

from fifoq.calls import Caller
from fifoq.errors import BackendBusy, BackendUnavailable, OutcomeUnknown
from fifoq.queue import Call
from fifoq.record import State
from fifoq.retry import Retry
from fifoq.task.context import Context
from fifoq.testing.lost_replies import LostReplies


async def test_a_worker_goes_on_by_itself_when_the_backend_is_back(
    shop: Any, outages: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    shop.task(quick, queue="another")
    worker = shop.worker()
    caplog.set_level(logging.INFO)
    async with worker:
        await shop.ended(await shop.put(task))
        outages.down = True
        await shop.until(lambda: not worker.ready)
        await asyncio.sleep(1.5)
        outages.down = False
        id = await shop.put(task)
        loop = asyncio.get_running_loop()
        start = loop.time()
        await shop.ended(id)
        assert loop.time() - start < 2.0
        await shop.until(lambda: worker.ready, 2.0)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1, told
    assert "needs no restart" in told[0]
    assert ".." not in told[0]
    assert [record for record in caplog.records if "answers again" in record.getMessage()]


async def test_outcomes_are_written_after_an_outage(shop: Any, outages: Any) -> None:
    running, go = asyncio.Event(), asyncio.Event()
    runs = []

    async def slow() -> int:
        runs.append(1)
        running.set()
        await go.wait()
        return 1

    id = await shop.put(shop.task(slow))
    async with shop.worker():
        await running.wait()
        outages.down = True
        go.set()
        await asyncio.sleep(0.3)
        outages.down = False
        assert (await shop.ended(id)).result == 1
    assert runs == [1]


async def test_lost_replies_of_claims_and_settles_change_nothing(shop: Any) -> None:
    runs: dict[str, list[int]] = {}

    async def note(ctx: Context, key: str, n: int) -> int:
        runs.setdefault(key, []).append(n)
        await asyncio.sleep(0)
        return n

    task = shop.task(note)
    for n in range(100):
        await shop.put(task, f"k{n % 7}", n, key=f"k{n % 7}", id=str(n))
    lossy = LostReplies(shop.backend, every=3, verbs=("claim", "settle"))
    await shop.worker(backend=lossy, concurrency=5).drain()
    assert lossy.lost > 10
    assert runs == {f"k{k}": list(range(k, 100, 7)) for k in range(7)}
    jobs = [await shop.job(str(n)) for n in range(100)]
    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(State.SUCCEEDED, 1, 0)}
    assert (await shop.backend.queue("default").audit()).differences == ()


@pytest.mark.parametrize("verb", ["claim", "settle"])
async def test_one_lost_reply_is_repeated_and_not_made_anew(
    shop: Any, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs = []

    async def once() -> None:
        runs.append(1)

    id = await shop.put(shop.task(once, retry=Retry(1)))
    lossy = LostReplies(shop.backend)
    lossy.lose(verb)
    async with shop.worker(backend=lossy):
        job = await shop.ended(id)
    assert (job.state, job.attempt, runs) == (State.SUCCEEDED, 1, [1])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class Verb:
    """A verb that answers as told, and remembers its calls."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Any:
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


async def test_a_caller_repeats_a_call_whose_reply_is_not_known() -> None:
    verb, caller = Verb(OutcomeUnknown(), BackendUnavailable(), "reply", "next"), Caller()
    with pytest.raises(OutcomeUnknown):
        await caller.attempt(verb)
    assert caller.doubtful
    with pytest.raises(BackendUnavailable):
        await caller.attempt(verb)
    assert caller.doubtful, "that this try did nothing says nothing of the one before"
    assert await caller.attempt(verb) == "reply"
    assert await caller.attempt(verb) == "next"
    numbers = [call.number for call in verb.calls]
    assert numbers == [1, 1, 1, 2]
    assert len({call.caller for call in verb.calls}) == 1


async def test_a_try_that_certainly_did_nothing_leaves_no_doubt() -> None:
    verb, caller = Verb(BackendBusy(), "reply"), Caller()
    with pytest.raises(BackendBusy):
        await caller.attempt(verb)
    assert not caller.doubtful
    first = caller.sent_at
    assert await caller.attempt(verb) == "reply"
    assert caller.sent_at > first, "a lease counts from the try that may have made it"


async def test_a_cancelled_try_is_repeated() -> None:
    verb, caller = Verb(asyncio.CancelledError(), "reply"), Caller()
    with pytest.raises(asyncio.CancelledError):
        await caller.attempt(verb)
    assert await caller.attempt(verb) == "reply"
    assert [call.number for call in verb.calls] == [1, 1]


async def test_send_repeats_until_the_reply_is_known() -> None:
    verb = Verb(BackendUnavailable(), OutcomeUnknown(), "reply")
    assert await Caller().send(verb, 5.0) == "reply"
    assert verb.calls[1] == verb.calls[2]


async def test_send_gives_up_in_doubt_if_any_try_may_have_taken_effect() -> None:
    with pytest.raises(OutcomeUnknown):
        await Caller().send(Verb(OutcomeUnknown(), *[BackendUnavailable()] * 50), 0.05)
    with pytest.raises(BackendUnavailable):
        await Caller().send(Verb(*[BackendUnavailable()] * 50), 0.05)


async def test_what_send_gave_up_is_overtaken_by_the_next() -> None:
    verb, caller = Verb(OutcomeUnknown(), "reply"), Caller()
    with pytest.raises(OutcomeUnknown):
        await caller.send(verb, 0.0)
    await caller.send(verb, 0.0)
    assert verb.calls[0].number < verb.calls[1].number
