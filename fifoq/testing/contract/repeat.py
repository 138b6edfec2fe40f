"""Contract, points 13 and 17: a call whose reply was lost is repeated; a call that was overtaken is refused."""

from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.errors import OutcomeUnknown
from fifoq.queue import KEEP_REPLY, Call, Full
from fifoq.record import Cancel, Fail, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import KEPT, LEASE, TASK, Driver, spec
from fifoq.testing.lost_replies import LostReplies


class RepeatCases(Cases):
    """Points 13 and 17."""

    def test_a_put_repeated_gives_the_first_reply_and_enters_nothing(self, driver: Driver) -> None:
        call, batch = driver.call(), [spec("k"), spec("k")]
        first = driver.put_batches(batch, call=call)
        assert driver.put_batches(batch, call=call) == first
        assert driver.stats().accepted == 2

    def test_a_put_repeated_after_its_jobs_ran_and_are_gone_enters_nothing(self, driver: Driver) -> None:
        call, batch = driver.call(), [spec()]
        first = driver.put_batches(batch, call=call)
        driver.succeed(driver.lease(), retain=0)
        assert driver.get(batch[0].id) is None
        assert driver.put_batches(batch, call=call) == first
        assert driver.claim() == []

    def test_a_refusal_repeated_stays_a_refusal(self, driver: Driver) -> None:
        driver.declare(capacity=1)
        (a,) = driver.put(spec())
        call = driver.call()
        first = driver.put_batches([spec(id="b")], call=call)
        driver.cancel(a)
        assert driver.put_batches([spec(id="b")], call=call) == first == (Full(None, 1, 1, 1),)
        assert driver.get("b") is None

    def test_a_claim_repeated_gives_the_same_leases_and_claims_nothing(self, driver: Driver) -> None:
        driver.put(spec(), spec())
        call = driver.call()
        first = driver.claim_reply(1, call=call)
        assert driver.claim_reply(1, call=call) == first
        assert driver.stats().running == 1
        assert driver.succeed(first.leases[0]) is State.SUCCEEDED

    def test_a_claim_repeated_after_its_job_was_settled_claims_nothing(self, driver: Driver) -> None:
        driver.put(spec(), spec())
        call = driver.call()
        first = driver.claim_reply(1, call=call)
        driver.succeed(first.leases[0], retain=0)
        assert driver.claim_reply(1, call=call) == first
        assert driver.stats().waiting == 1

    def test_an_empty_claim_repeated_stays_empty(self, driver: Driver) -> None:
        call = driver.call()
        first = driver.claim_reply(1, call=call)
        driver.put(spec())
        assert driver.claim_reply(1, call=call) == first
        assert driver.stats().waiting == 1

    def test_a_repeat_fires_no_timers(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="a"), spec(id="b", delay=1))
        call = driver.call()
        driver.claim_reply(1, call=call, lease=SECOND)
        clock.advance(5)
        driver.claim_reply(1, call=call, lease=SECOND)
        assert driver.states("a", "b") == [State.RUNNING, State.SCHEDULED]

    @pytest.mark.parametrize(
        "outcome",
        [Succeed(b"", 0), Fail(b"", True, 0), Cancel("", 0), Retry(0, b"", 0), Retry(9, b"", 0), Release(0, 0)],
        ids=repr,
    )
    def test_a_settle_repeated_gives_the_first_reply(self, driver: Driver, outcome: Outcome) -> None:
        (a,) = driver.put(spec("k"))
        lease, call = driver.lease(), driver.call()
        first = driver.settle(lease, outcome, call)
        after = driver.get(a), driver.stats()
        assert first is not None
        assert driver.settle(lease, outcome, call) is first
        assert (driver.get(a), driver.stats()) == after

    def test_a_settle_repeated_has_no_second_effect(self, driver: Driver) -> None:
        driver.declare(limit=1)
        driver.put(spec(id="a"), spec(id="b"))
        lease, call = driver.lease(), driver.call()
        assert driver.settle(lease, Succeed(b"", 0), call) is State.SUCCEEDED
        assert driver.claim() == ["b"]
        assert driver.settle(lease, Succeed(b"", 0), call) is State.SUCCEEDED
        assert driver.stats().running == 1
        assert driver.stats().purged == 1

    def test_each_verb_and_each_caller_counts_for_itself(self, driver: Driver) -> None:
        driver.put_batches([spec(id="a")], call=Call("one", 7))
        driver.put_batches([spec(id="b")], call=Call("two", 3))
        assert [lease.spec.id for lease in driver.claim_reply(1, call=Call("one", 1)).leases] == ["a"]
        assert [lease.spec.id for lease in driver.claim_reply(1, call=Call("two", 1)).leases] == ["b"]

    def test_each_queue_counts_for_itself(self, driver: Driver) -> None:
        other = driver.beside("another")
        call = Call("caller", 5)
        driver.put_batches([spec()], call=call)
        other.put_batches([spec()], call=call)
        assert other.stats().accepted == 1

    @pytest.mark.parametrize("verb", ["put", "claim", "settle"])
    def test_an_overtaken_call_is_refused_and_changes_nothing(self, driver: Driver, verb: str) -> None:
        driver.put(spec(id="a"), spec(id="b"))
        lease = driver.lease()
        queue = driver.queue

        def send(number: int) -> Any:
            call, token = Call("caller", number), lease.token if number == 1 else "none"
            if verb == "put":
                return driver.put_batches([spec()], call=call)
            if verb == "claim":
                return driver.claim_reply(call=call)
            return driver.run(queue.settle(call, [Settlement("a", token, Succeed(b"", KEPT))]))

        send(2)
        before = driver.find(), driver.stats()
        with pytest.raises(OutcomeUnknown):
            send(1)
        assert (driver.find(), driver.stats()) == before

    def test_a_reply_is_remembered_on_every_backend_of_the_store(self, driver: Driver) -> None:
        driver.put(spec(), spec())
        call = driver.call()
        first = driver.claim_reply(1, call=call)
        assert driver.twin().claim_reply(1, call=call) == first
        driver.reopen()
        assert driver.claim_reply(1, call=call) == first

    def test_a_reply_is_remembered_for_an_hour_whatever_is_purged(self, driver: Driver, clock: ManualClock) -> None:
        call, batch = driver.call(), [spec()]
        first = driver.put_batches(batch, call=call)
        driver.succeed(driver.lease(), retain=0)
        clock.set(clock.now() + KEEP_REPLY - 1)
        driver.purge()
        assert driver.put_batches(batch, call=call) == first
        assert driver.stats().accepted == 1

    def test_only_the_last_call_needs_to_be_remembered(self, driver: Driver) -> None:
        """After a thousand calls of one caller the last of them can be repeated."""
        for number in range(1, 1_001):
            driver.put_batches([spec(id="same")], call=Call("caller", number))
        call = Call("caller", 1_000)
        assert len(driver.put_batches([spec()], call=call)) == 1
        assert driver.stats().accepted == 1

    def test_lost_replies_change_nothing_that_a_caller_can_see(self, driver: Driver) -> None:
        """Every put, claim and settle takes effect, loses its reply and is repeated: each job runs once, in order."""
        done: list[str] = []
        for number in range(10):
            _lossy(driver, "put", [[spec("k", id=str(number))]])
        while leases := _lossy(driver, "claim", "worker", 2, LEASE, [TASK]).leases:
            done += [lease.spec.id for lease in leases]
            settlements = [Settlement(lease.spec.id, lease.token, Succeed(b"", KEPT)) for lease in leases]
            assert _lossy(driver, "settle", settlements) == (State.SUCCEEDED,) * len(leases)
        assert done == [str(number) for number in range(10)]
        assert driver.stats()[3:8] == (10, 0, 0, 0, 10)


def _lossy(driver: Driver, verb: str, *arguments: Any) -> Any:
    """Make a call whose first reply is lost, repeat it, and return the reply."""
    lossy = LostReplies(driver.backend)
    lossy.lose(verb)
    method, call = getattr(lossy.queue(driver.queue.name), verb), driver.call()
    with pytest.raises(OutcomeUnknown):
        driver.run(method(call, *arguments))
    return driver.run(method(call, *arguments))
