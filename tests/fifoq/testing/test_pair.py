"""The pair reports a difference in any reply, and the random operations reach every kind of reply of the model."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from fifoq.queue import Call
from fifoq.record import Release, Settlement
from fifoq.testing import ManualClock, ModelBackend, ModelStore
from fifoq.testing.model import Model, claim
from fifoq.testing.operations import run
from fifoq.testing.pair import Pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    clock = ManualClock()
    store = ModelStore(clock)
    with closing(Pair(lambda _: ModelBackend(store), clock)) as pair:
        yield pair


def test_a_difference_is_reported_with_both_sides_and_the_operations_before(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.do("cancel", ["probe"], "asked")
    monkeypatch.setattr(ModelBackend, "queue", lambda *_: _Wrong())
    with pytest.raises(AssertionError, match=r"(?s)purge differs\s+model:   0\s+backend: 7\s.*cancel.*purge"):
        pair.do("purge", 10)


class _Wrong:
    async def purge(self, limit: int) -> int:
        return 7


@pytest.mark.parametrize(("next_timer", "wrong"), [(0, False), (5, False), (6, True), (None, True)])
def test_a_next_timer_may_be_early_and_never_late(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, next_timer: int | None, wrong: bool
) -> None:
    monkeypatch.setattr(Model, "soonest", lambda *_: 5)
    if wrong:
        with pytest.raises(AssertionError, match="claimable in 5"):
            pair._compare_timer(0, next_timer, ["t1"])
    else:
        pair._compare_timer(0, next_timer, ["t1"])


def test_the_model_finds_the_moment_at_which_a_job_becomes_claimable() -> None:
    """A lease of another key, a timer of an unknown task: neither makes a job of this task claimable."""
    clock = ManualClock()
    model = Model(clock)
    from fifoq.testing import spec

    model.put(Call("c", 1), [[spec("k", task="other"), spec("k", task="mine"), spec(task="other", delay=2)]])
    (lease,) = model.claim(Call("c", 1), "w", 1, 10, ["other"]).leases
    assert model.soonest(["mine"]) is None
    assert model.soonest(["other"]) == 10
    model.settle(Call("c", 1), [Settlement(lease.spec.id, lease.token, Release(5, 0))])
    assert model.soonest(["other"]) == 5
    assert claim.moments(model.state, model.now()) == [5, 2_000_000]


def test_random_runs_reach_every_kind_of_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that is always refused compares nothing."""
    seen: Counter[str] = Counter()
    real = Pair.do

    def do(pair: Pair, verb: str, *arguments: object) -> object:
        reply = real(pair, verb, *arguments)
        for one in reply if isinstance(reply, tuple) and not hasattr(reply, "_fields") else [reply]:
            state = getattr(one, "changed", "") and getattr(one, "state", "")
            seen[f"{verb} {type(one).__name__} {state}".strip()] += 1
        seen["leases"] += len(getattr(reply, "leases", ()))
        return reply

    monkeypatch.setattr(Pair, "do", do)
    for seed in range(20):
        clock = ManualClock()
        store = ModelStore(clock)
        with closing(Pair(lambda _, store=store: ModelBackend(store), clock)) as pair:
            run(pair, seed, 250)
    assert seen["leases"] > 300
    for reply in (
        "put tuple",
        "put Full",
        "put Conflict",
        "put OutcomeUnknown",
        "claim Claimed",
        "settle State",
        "settle NoneType",
        "extend Hold",
        "cancel Changed cancelled",
        "cancel Changed running",
        "requeue Changed waiting",
        "skip Changed failed",
        "purge int",
    ):
        assert seen[reply] >= 3, f"{reply}: {seen}"
