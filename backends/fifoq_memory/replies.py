"""What each caller was told last, per verb, so that a repeated call changes nothing."""

from typing import Any

from fifoq.errors import OutcomeUnknown
from fifoq.queue import KEEP_REPLY, Call


class Replies:
    """One verb's last replies."""

    __slots__ = ("_told", "_verb")

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._told: dict[str, tuple[int, Any, int]] = {}
        """By caller: the number of its last call, the reply, and when that was."""

    def recall(self, call: Call) -> Any:
        """Return the reply to a repeated call, or None to a new one. Raises OutcomeUnknown if it was overtaken."""
        caller, number = call
        told = self._told.get(caller)
        if told is None or number > told[0]:
            return None
        last, reply, _ = told
        if number == last:
            return reply
        raise OutcomeUnknown(
            f"This {self._verb} is call {call.number} of its caller, which has made call {last} since. Nothing "
            "was changed now; whether it took effect when it was first sent is not known any more. Look at the jobs."
        )

    def keep(self, call: Call, reply: Any, now: int) -> None:
        """Remember a call's reply instead of the caller's one before."""
        caller, number = call
        self._told[caller] = number, reply, now

    def forget(self, now: int) -> None:
        """Drop what is older than KEEP_REPLY, in O(callers)."""
        old = [caller for caller, (_, _, at) in self._told.items() if at + KEEP_REPLY <= now]
        for caller in old:
            del self._told[caller]
