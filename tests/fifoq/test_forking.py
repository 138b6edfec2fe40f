"""A forked child is told what it must not use; nobody else is."""

import os
import weakref

from fifoq.fork_safety import unwatch_forks, watch_forks


class Open:
    """Something that is open."""

    def __init__(self) -> None:
        self.told = 0

    def forked(self) -> None:
        self.told += 1


def _in_a_child(look: "list[Open]") -> bytes:
    """What each was told there, a digit each."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, "".join(str(one.told) for one in look).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        return said.read()


def test_what_is_open_hears_of_a_fork_in_the_child_only() -> None:
    one, closed, never = Open(), Open(), Open()
    watch_forks(one)
    watch_forks(one)
    watch_forks(closed)
    unwatch_forks(closed)
    unwatch_forks(never)
    assert _in_a_child([one, closed, never]) == b"100"
    assert [one.told, closed.told, never.told] == [0, 0, 0]
    unwatch_forks(one)


def test_what_is_open_is_not_kept_alive() -> None:
    one = Open()
    watch_forks(one)
    there = weakref.ref(one)
    del one
    assert there() is None
