"""Contract, points 13 and 14: leases, tokens, fences, and jobs whose lease ended."""

from fifoq.clock import SECOND
from fifoq.record import Hold, State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class LeaseCases(Cases):
    """Points 13 and 14."""

    def test_a_lease_shows_its_job(self, driver: Driver, clock: ManualClock) -> None:
        asked = spec("k", payload=b"p", value="v", meta=b"m")
        driver.put(asked)
        created = clock.now()
        clock.advance(1)
        lease = driver.lease(worker="w1")
        assert lease.spec == asked
        assert (lease.entry, lease.seq, lease.attempt, lease.crashes) == (1, 1, 1, 0)
        assert (lease.created_at, lease.started_at) == (created, clock.now())
        record = driver.record(asked.id)
        assert (record.state, record.attempt, record.worker) == (State.RUNNING, 1, "w1")
        assert record.started_at == clock.now()

    def test_a_token_is_the_callers_nonce_its_number_and_the_fence(self, driver: Driver) -> None:
        driver.put(spec(), spec())
        call = driver.call()
        tokens = [lease.token for lease in driver.leases(2, call=call)]
        assert tokens == [f"{call.caller}.{call.number}.{fence}" for fence in (1, 2)]

    def test_every_claim_makes_a_fresh_token(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec())
        tokens: set[str] = set()
        for _ in range(3):
            tokens.add(driver.lease(lease=SECOND).token)
            clock.advance(1)
            lease = driver.lease()
            tokens.add(lease.token)
            driver.release(lease)
        assert len(tokens) == 6

    def test_fences_rise_over_jobs_callers_and_reopenings(self, driver: Driver) -> None:
        driver.put(*(spec(f"k{number}") for number in range(8)))
        other = driver.twin()
        fences = [lease.fence for lease in driver.leases(2)]
        for lease in other.leases(3):
            fences.append(lease.fence)
            other.succeed(lease, retain=0)
        driver.reopen()
        fences += [lease.fence for lease in driver.leases(3)]
        assert fences == list(range(1, 9))

    def test_a_stale_token_settles_nothing(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec("k"))
        stale = driver.lease(lease=SECOND)
        clock.advance(1)
        current = driver.lease()
        before = driver.record(a)
        for settle in (driver.succeed, driver.fail, driver.retry, driver.release, driver.end_cancelled):
            assert settle(stale) is None
        assert driver.record(a) == before
        assert driver.succeed(current) is State.SUCCEEDED

    def test_a_stale_token_extends_nothing(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        stale = driver.lease(lease=SECOND)
        clock.advance(1)
        driver.lease(lease=SECOND)
        assert driver.extend(stale, 100, b"progress") is Hold.LOST
        assert driver.record(a).progress is None
        clock.advance(1)
        assert driver.claim() == [a]

    def test_a_settled_lease_is_over(self, driver: Driver) -> None:
        driver.put(spec())
        lease = driver.lease()
        driver.retry(lease)
        assert driver.succeed(lease) is None
        assert driver.extend(lease) is Hold.LOST

    def test_the_token_of_another_job_settles_nothing(self, driver: Driver) -> None:
        a, b = driver.put(spec(), spec())
        first, second = driver.leases(2)
        assert driver.succeed(first._replace(token=second.token)) is None
        assert driver.states(a, b) == [State.RUNNING, State.RUNNING]

    def test_a_job_that_does_not_exist_cannot_be_settled_or_extended(self, driver: Driver) -> None:
        driver.put(spec(id="a"))
        lease = driver.lease()
        ghost = lease._replace(spec=lease.spec._replace(id="ghost"))
        assert driver.succeed(ghost) is None
        assert driver.extend(ghost) is Hold.LOST

    def test_extending_holds_the_lease(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec())
        lease = driver.lease(lease=10 * SECOND)
        for _ in range(5):
            clock.advance(9)
            assert driver.extend(lease, 10) is Hold.HELD
            assert driver.claim() == []
        clock.advance(10)
        assert len(driver.claim()) == 1

    def test_an_extension_counts_from_now_and_may_shorten(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec())
        lease = driver.lease(lease=100 * SECOND)
        driver.extend(lease, 1)
        clock.advance(1)
        assert len(driver.claim()) == 1

    def test_an_extension_stores_the_progress(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()
        driver.extend(lease, progress=b"half")
        assert driver.record(a).progress == b"half"
        driver.extend(lease)
        assert driver.record(a).progress == b"half"

    def test_a_lease_past_its_end_is_good_until_it_is_taken_back(self, driver: Driver, clock: ManualClock) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        lease = driver.lease(lease=SECOND)
        clock.advance(1_000)
        driver.stats()
        assert driver.states(a) == [State.RUNNING]
        assert driver.extend(lease, 1) is Hold.HELD
        clock.advance(1_000)
        assert driver.succeed(lease) is State.SUCCEEDED
        assert driver.drain() == [b]
        assert driver.record(a).crashes == 0

    def test_a_put_takes_an_ended_lease_back(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease(lease=SECOND)
        clock.advance(1)
        driver.put(spec())
        assert driver.states(a) == [State.WAITING]
        assert driver.succeed(lease) is None

    def test_a_job_whose_lease_ended_is_claimable_at_its_place(self, driver: Driver, clock: ManualClock) -> None:
        a, b, c = driver.put(spec("k"), spec("k"), spec())
        driver.claim(2, lease=SECOND)
        clock.advance(0.999_999)
        assert driver.claim(10) == []
        clock.advance(0.000_001)
        lease = driver.lease()
        assert (lease.spec.id, lease.seq, lease.attempt, lease.crashes) == (a, 1, 2, 1)
        driver.succeed(lease)
        assert driver.drain() == [b, c]

    def test_every_ended_lease_counts_a_crash_and_nothing_is_decided(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec("k"))
        for crashes in range(10):
            lease = driver.lease(lease=SECOND)
            assert (lease.attempt, lease.crashes) == (crashes + 1, crashes)
            clock.advance(1)
        assert driver.claim() == [a]

    def test_a_lease_that_ended_leaves_the_error_and_worker_of_before(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        driver.retry(driver.lease())
        driver.lease(worker="w2", lease=SECOND)
        started = clock.now()
        clock.advance(1)
        driver.put(spec())
        record = driver.record(a)
        assert (record.error, record.worker, record.started_at) == (b"error", "w2", started)
