"""What callers were last told, as one connection knows it: each one's last call of each verb on a queue."""

from typing import Any, NamedTuple

_MOST = 1_000
"""So many callers are remembered; beyond, they are read again."""


class Remembered(NamedTuple):
    """A caller's last call of one verb."""

    number: int
    reply: Any


Who = tuple[str, str, str]
"""Queue, verb and caller."""


class Told:
    """The last replies. `new` are those of the open transaction."""

    def __init__(self) -> None:
        self.known: dict[Who, Remembered | None] = {}
        """The new ones, and those that are stored; None: there is none."""
        self.new: dict[Who, Remembered] = {}

    def know(self, who: Who, stored: Remembered | None) -> None:
        """This is stored."""
        if len(self.known) > _MOST:
            self.known = {**self.new}
        self.known[who] = stored

    def forget(self) -> None:
        """Others may have told them more, or the transaction was undone."""
        self.known.clear()
        self.new.clear()
