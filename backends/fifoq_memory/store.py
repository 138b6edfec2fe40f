"""What the backends of one URL share: the queues of `memory://name`, for the life of the process."""

from threading import Lock

from fifoq.clock import Clock, ProcessClock
from fifoq.errors import ConfigurationError
from fifoq_memory.queue import MemoryQueue


class Store:
    """Queues by name, on one clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or ProcessClock()
        self.warned = False
        """Whether the log has been told that other processes do not see this store."""
        self._lock = Lock()
        self._queues: dict[str, MemoryQueue] = {}

    def queue(self, name: str) -> MemoryQueue:
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = MemoryQueue(name, self.clock)
            return queue

    def names(self) -> tuple[str, ...]:
        """Of the queues that were put into, or configured."""
        with self._lock:
            return tuple(sorted(name for name, queue in self._queues.items() if queue.made))


_shared: dict[str, Store] = {}
_lock = Lock()


def shared_store(name: str, clock: Clock | None) -> Store:
    """The store of that name: the same one for all of the process, whether or not a backend is open on it."""
    with _lock:
        store = _shared.get(name)
        if store is None:
            store = _shared[name] = Store(clock)
        if clock is not None and clock is not store.clock:
            raise ConfigurationError(
                f"memory://{name} exists in this process and runs on another clock. A store has one clock: "
                "pass the same one, or none to use the store's, or choose another name."
            )
        return store
