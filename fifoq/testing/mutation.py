"""
Mutation tests of the kit: one case of it, run by itself against a backend with a planted bug.

A check that has never failed proves nothing. A mutant plants one bug and names the cases that must fail for it; the
same cases pass without it. The audit that follows every case in a suite is left out: the case itself must fail.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from fifoq.testing.clock import ManualClock
from fifoq.testing.contract import QueueContract
from fifoq.testing.driver import Driver, MakeBackend

Case = Callable[..., None]
Plant = Callable[[pytest.MonkeyPatch], None]
MakeStore = Callable[[], MakeBackend]
"""Returns the `make_backend` of another fresh store at each call."""

CAUGHT = (AssertionError, pytest.fail.Exception)
"""The errors of a case that fails."""


class Mutant(NamedTuple):
    """One planted bug, and the cases of the kit that must catch it."""

    plant: Plant
    cases: tuple[Case, ...]

    def __repr__(self) -> str:
        return self.plant.__name__


class Mutants:
    """
    A catalogue of bugs.

        bugs = Mutants()

        @bugs.caught_by(OrderCases.test_a_retry_holds_the_line)
        def a_retry_goes_to_the_end_of_the_line(patch): ...
    """

    def __init__(self) -> None:
        self.all: list[Mutant] = []

    def caught_by(self, *cases: Case) -> Callable[[Plant], Plant]:
        """Register a function that plants a bug, and the cases that catch it, each by itself."""

        def register(plant: Plant) -> Plant:
            self.all.append(Mutant(plant, cases))
            return plant

        return register


def check(mutant: Mutant, make_store: MakeStore) -> None:
    """Prove that the mutant's cases pass without the bug, and that each of them fails with it."""
    for case in mutant.cases:
        run_case(case, make_store)
    with pytest.MonkeyPatch.context() as patch:
        mutant.plant(patch)
        for case in mutant.cases:
            if not is_caught(case, make_store):
                raise AssertionError(f"{case.__name__} passes though {mutant!r}")


def after(patch: pytest.MonkeyPatch, owner: Any, name: str, then: Callable[..., Any]) -> None:
    """
    Plant a bug behind `owner.name`: call `then` with its arguments when it has returned.

    A value of `then` other than None replaces the real reply.
    """
    real = getattr(owner, name)

    def planted(*arguments: Any) -> Any:
        reply = real(*arguments)
        changed = then(*arguments)
        return reply if changed is None else changed

    patch.setattr(owner, name, planted)


def is_caught(case: Case, make_store: MakeStore) -> bool:
    """Whether the case fails. A case with parameters fails if it fails with any of them."""
    try:
        run_case(case, make_store)
    except CAUGHT:
        return True
    return False


def run_case(case: Case, make_store: MakeStore) -> None:
    """Run one case of QueueContract, with each of its parameters, on a fresh store each."""
    for arguments in _parameters(case):
        _run(case, make_store(), arguments)


def _run(case: Case, make_backend: MakeBackend, arguments: dict[str, Any]) -> None:
    clock = ManualClock()
    driver = Driver(make_backend(clock))
    fixtures = {"make_backend": make_backend, "clock": clock, "driver": driver, **arguments}
    wanted = [name for name in inspect.signature(case).parameters if name != "self"]
    try:
        case(QueueContract(), **{name: fixtures[name] for name in wanted})
    finally:
        driver.close()


def _parameters(case: Case) -> Iterator[dict[str, Any]]:
    """Yield every combination of the case's parameters."""
    marks = [mark.args for mark in getattr(case, "pytestmark", []) if mark.name == "parametrize"]
    for values in itertools.product(*(list(options) for _, options in marks)):
        arguments: dict[str, Any] = {}
        for (names, _), value in zip(marks, values, strict=True):
            several = not isinstance(names, str)
            arguments.update(zip(names, value, strict=True) if several else {names: value})
        yield arguments
