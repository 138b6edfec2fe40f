"""What must be true of the jobs that a store still has, after it lost writes that it had acknowledged."""

from collections import defaultdict

from fifoq.record import Record, State
from fifoq.testing.history import Started
from fifoq.testing.history.events import Event
from tests.system_redis.load import KEYS


def assert_survivors_in_order(records: list[Record], events: list[Event]) -> None:
    """
    Each key's jobs entered, and last began, in the order in which they were enqueued, and all of them ended.

    The rules of the history are not for this: the store was set back, so fences come twice, and jobs run again.
    """
    began: dict[str, int] = {}
    for event in events:
        if isinstance(event, Started):
            began[event.job] = max(event.at, began.get(event.job, 0))
    lines: dict[str | None, list[tuple[int, int, int]]] = defaultdict(list)
    for record in records:
        assert record.state is State.SUCCEEDED, record
        lines[record.spec.key].append((record.entry, number_of(record), began[record.spec.id]))
    assert len(lines) == KEYS
    for key, line in lines.items():
        _, numbers, starts = zip(*sorted(line), strict=True)
        assert list(numbers) == sorted(numbers), f"the jobs of key {key} entered in another order: {numbers}"
        assert list(starts) == sorted(starts), f"the jobs of key {key} last began in another order"


def number_of(record: Record) -> int:
    return int(record.spec.id.removeprefix("job-"))
