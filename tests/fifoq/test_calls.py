"""Numbered calls: each is repeated until its reply is known."""

import asyncio
from typing import Any

import pytest

from fifoq.calls import Caller
from fifoq.errors import BackendBusy, BackendUnavailable, OutcomeUnknown
from fifoq.queue import Call


class Verb:
    """A verb that returns or raises the given answers, and stores its calls."""

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
    assert caller.doubtful, "this try did nothing, and the one before may have"
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


async def test_a_call_that_send_gave_up_is_overtaken_by_the_next() -> None:
    verb, caller = Verb(OutcomeUnknown(), "reply"), Caller()
    with pytest.raises(OutcomeUnknown):
        await caller.send(verb, 0.0)
    await caller.send(verb, 0.0)
    assert verb.calls[0].number < verb.calls[1].number
