"""Open objects are called in a forked child, so that they let go of all that is the parent's; nowhere else."""

import os
import weakref

from fifoq.fork_safety import unwatch_forks, watch_forks


class Open:
    """Something that is open."""

    def __init__(self) -> None:
        self.calls = 0

    def forked(self) -> None:
        self.calls += 1


def _in_a_child(look: "list[Open]") -> bytes:
    """Return how often each was called in a forked child, a digit each."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, "".join(str(each.calls) for each in look).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as result:
        return result.read()


def test_an_open_object_is_called_in_the_forked_child_only() -> None:
    one, closed, never = Open(), Open(), Open()
    watch_forks(one)
    watch_forks(one)
    watch_forks(closed)
    unwatch_forks(closed)
    unwatch_forks(never)
    assert _in_a_child([one, closed, never]) == b"100"
    assert [one.calls, closed.calls, never.calls] == [0, 0, 0]
    unwatch_forks(one)


def test_an_open_object_is_not_kept_alive() -> None:
    one = Open()
    watch_forks(one)
    there = weakref.ref(one)
    del one
    assert there() is None
