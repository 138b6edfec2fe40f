"""What a way to a server is, and what it leads to. It knows neither functions nor replies."""

from typing import Protocol

from fifoq_redis.connecting import Connect
from fifoq_redis.wire import Wire


class Place:
    """One server: a wire for calls, and how to make further connections."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self.connect = connect
        self.wire = Wire(connect, timeout)
        self.moves = 0
        """How often another server has been found to be this one: each of its connections counts only until then."""


class Route(Protocol):
    """Finds the server of a key."""

    def known(self, key: bytes) -> Place | None:
        """The server that holds the key now, if that is known without asking."""
        ...

    async def place(self, key: bytes) -> Place:
        """The server that holds the key now. Raises Unsent or a FifoqError."""
        ...

    def follow(self, place: Place, code: str, rest: str) -> Place | None:
        """Where to go after the MOVED, ASK or READONLY that `place` answered with; None: nowhere."""
        ...

    def doubt(self, place: Place) -> None:
        """That server did not answer."""
        ...

    def places(self) -> list[Place]:
        """All that have been used."""
        ...
