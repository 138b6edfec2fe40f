"""The indexes: timers by (time, entry), jobs by number, blocked keys by time, and the oldest waiting job."""

import random

from hypothesis import given
from hypothesis import strategies as st

from fifoq.record import State
from fifoq.testing import spec
from fifoq_memory.indexes import CHUNK, SLACK, BlockedKeyIndex, EntryIndex, OldestWaiting, TimerIndex
from fifoq_memory.jobs import Job, TaskGate, score_of

TASK = TaskGate("task")
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "set", "clear", "due"]), st.integers(1, 5), st.integers(0, 20))
)


def job(number: int) -> Job:
    made = Job(spec(), number, TASK, 0)
    made.score = score_of(0, number)
    return made


# ---- timers ----


@given(STEPS)
def test_a_timer_index_is_a_map_of_entries_to_times(steps: list[tuple[str, int, int]]) -> None:
    index, plain = TimerIndex(), dict[int, int]()
    for step, entry, at in steps:
        match step:
            case "set":
                index.set(entry, at)
                plain[entry] = at
            case "clear":
                index.clear(entry)
                plain.pop(entry, None)
            case _:
                due = sorted((time, one) for one, time in plain.items() if time <= at)[:entry]
                assert index.due(at, entry) == [one for _, one in due]
                for _, one in due:
                    del plain[one]
        assert index.next() == min(plain.values(), default=None)
        assert index.times == plain


def test_an_extension_adds_no_mark() -> None:
    index = TimerIndex()
    index.set(1, 15)
    for now in range(10_000):
        index.set(1, now + 15)
    assert len(index.run) + len(index.rest) == 1
    assert index.due(10_000, 10) == []
    assert index.next() == 10_014


def test_cleared_times_do_not_pile_up() -> None:
    index = TimerIndex()
    index.set(0, 1_000_000)
    for entry in range(1, 20_000):
        index.set(entry, entry + 1_000_000)
        index.clear(entry)
    assert len(index.run) + len(index.rest) <= 2 + SLACK + 1


# ---- jobs by number ----


def test_an_entry_index_is_read_from_any_number_on() -> None:
    random.seed(1)
    index, plain = EntryIndex(), dict[int, Job]()
    for number in range(1, 5_000):
        if random.random() < 0.7:
            plain[number] = job(number)
            index.add(number, plain[number])
    for number in random.sample(sorted(plain), 2_000):
        index.remove(number)
        del plain[number]
    for start in (0, 1, 511, 512, 513, 1_023, 4_000, 4_998, 4_999, 10_000):
        assert list(index.after(start)) == [(number, one) for number, one in plain.items() if number > start]
        assert index.get(start) is plain.get(start)


def test_an_entry_index_keeps_nothing_of_removed_jobs() -> None:
    index = EntryIndex()
    for number in range(1, 2_000):
        index.add(number, job(number))
        if number > 1:
            index.remove(number)
    assert index.order == [0]
    assert list(index.pages) == [0]
    assert list(index.pages[0]) == [1]


# ---- blocked keys ----


def test_blocked_keys_are_in_order_from_any_place_on() -> None:
    random.seed(2)
    blocked, plain = BlockedKeyIndex(), set[tuple[int, str]]()
    for _ in range(20 * CHUNK):
        item = (random.randrange(2_000), f"k{random.randrange(20)}")
        if item in plain:
            plain.remove(item)
            blocked.remove(item)
        else:
            plain.add(item)
            blocked.add(item)
    assert list(blocked.after(None)) == sorted(plain)
    for item in [*random.sample(sorted(plain), 50), (-1, ""), (500, "k0"), (5_000, "")]:
        assert list(blocked.after(item)) == sorted(one for one in plain if one > item)
    assert max(len(chunk) for chunk in blocked.chunks) < 2 * CHUNK
    for item in plain:
        blocked.remove(item)
    assert blocked.chunks == []


# ---- the oldest waiting job ----


def test_the_oldest_waiting_job_is_found_whichever_comes_back() -> None:
    random.seed(3)
    index, oldest = EntryIndex(), OldestWaiting()
    jobs = [job(number) for number in range(1, 400)]
    for one in jobs:
        index.add(one.entry, one)
    for step in range(3_000):
        one = random.choice(jobs)
        if one.state is State.WAITING:
            one.state = State.RUNNING
        elif random.random() < 0.5:
            one.state = State.WAITING
            oldest.came_back(one)
        if step % 3 == 0:
            expected = min((each for each in jobs if each.state is State.WAITING), key=lambda each: each.entry)
            assert oldest.find(index) is expected


def test_a_job_that_retries_for_ever_fills_nothing() -> None:
    index, oldest = EntryIndex(), OldestWaiting()
    one = job(1)
    index.add(1, one)
    one.state = State.RUNNING
    assert oldest.find(index) is None
    for _ in range(100):
        oldest.came_back(one)
    assert len(oldest.returned) == 1
