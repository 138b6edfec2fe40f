"""The names of a queue's keys. All of a queue lie in one slot of a cluster, for its name is their hash tag."""

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
"""In the order in which lua/keys.lua names them."""


class Keys(NamedTuple):
    """The keys of one queue. What is pushed names a queue by its book."""

    book: bytes
    all: tuple[bytes, ...]
    packed: bytes
    """Their number and all of them, as words of a command."""

    @classmethod
    def of(cls, prefix: str, queue: str) -> "Keys":
        """`fifoq:{queue}:book` and so on."""
        all = tuple(f"{prefix}:{{{queue}}}:{name}".encode() for name in _NAMES)
        return cls(all[0], all, encode_words(len(all), *all))


def names_key(prefix: str) -> bytes:
    """The set of the names of all queues."""
    return f"{prefix}:queues".encode()


def schema_key(prefix: str) -> bytes:
    """Where the schema of the store is written."""
    return f"{prefix}:schema".encode()


def channel(prefix: str, nonce: str) -> bytes:
    """The channel in which one backend is told of what it waits for."""
    return f"{prefix}:bell:{nonce}".encode()
