"""What a queue needs of its backend."""

from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Protocol

from fifoq_redis.keys import Keys


class Store(Protocol):
    """What a queue needs of its backend."""

    @property
    def channel(self) -> bytes:
        """Where the functions tell this backend what it waits for."""
        ...

    def run(
        self, keys: Keys, verb: str, *values: Any, blobs: Sequence[bytes] = (), late: bool = False
    ) -> Awaitable[Any]:
        """
        Call a function of the library; its reply is awaited. Raises a FifoqError, now or then.

        It is told `values`, plain data; `blobs` are what it is to keep unread.

        `late`: let those whom it tells of something hear of that before the reply comes, if the server can.
        """
        ...

    async def register(self, name: str) -> None:
        """Put a queue's name among those of the store."""
        ...

    async def hear(self, keys: Keys, timeout: float) -> bool:
        """Listen to the channel; return whether that is so within `timeout` seconds."""
        ...

    def hears(self, keys: Keys) -> bool:
        """Whether the channel is listened to."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done meanwhile; it is cancelled when the backend closes."""
        ...

    @property
    def time(self) -> str | int:
        """The time of a test clock, or nothing: then the server's counts."""
        ...
