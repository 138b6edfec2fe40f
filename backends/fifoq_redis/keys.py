"""The keys of a queue. All lie in one slot of a cluster: the queue's name is their hash tag."""

from typing import NamedTuple

from fifoq_redis.encoding import encode_words

_NAMES = (
    "book",
    "jobs",
    "specs",
    "errors",
    "progress",
    "entries",
    "waiting",
    "ready",
    "offers",
    "values",
    "lines",
    "timers",
    "ends",
    "uniques",
    "paused",
    "blocked",
    "callers",
    "waiters",
    "watched",
)
"""In the order of lua/lib/runtime.lua."""


class Keys(NamedTuple):
    """The keys of one queue. Notifications name a queue by the key of its state."""

    state: bytes
    all: tuple[bytes, ...]
    packed: bytes
    """Their number and all of them, encoded as words of a command."""

    @classmethod
    def of(cls, prefix: str, queue: str) -> "Keys":
        """Return the keys of a queue: `fifoq:{queue}:book` and so on."""
        all = tuple(f"{prefix}:{{{queue}}}:{name}".encode() for name in _NAMES)
        return cls(all[0], all, encode_words(len(all), *all))


def names_key(prefix: str) -> bytes:
    """Return the key of the set of all queues' names."""
    return f"{prefix}:queues".encode()


def schema_key(prefix: str) -> bytes:
    """Return the key of the store's schema."""
    return f"{prefix}:schema".encode()


def channel(prefix: str, nonce: str) -> bytes:
    """Return the channel in which one backend receives notifications."""
    return f"{prefix}:notify:{nonce}".encode()
