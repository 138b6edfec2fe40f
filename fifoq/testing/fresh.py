"""For tests of apps: a fresh store for each test, though the Fifoq stands at the top of a module."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol


class UsesStores(Protocol):
    """A Fifoq."""

    def using(self, url: str) -> AbstractContextManager[None]:
        """Use another store until the block ends."""
        ...


@contextmanager
def fresh_store(*tasks: UsesStores) -> Generator[None]:
    """
    Give each Fifoq a new, empty store in memory until the block ends, whatever its URL says.

        with fresh_store(tasks), TestClient(app) as client:
            ...

    Jobs, ids, idempotency keys, pauses and statistics of other tests are not in it. The Fifoq must not be open.
    """
    with ExitStack() as stack:
        for each in tasks:
            stack.enter_context(each.using("memory://"))
        yield


def fresh_store_fixture(*tasks: UsesStores, autouse: bool = True) -> Callable[..., Any]:
    """
    Return a pytest fixture that gives each test a `fresh_store`. In `conftest.py`:

        from app import tasks
        from fifoq.testing import fresh_store_fixture

        fresh = fresh_store_fixture(tasks)
    """
    import pytest

    @pytest.fixture(autouse=autouse)
    def fresh() -> Generator[None]:
        with fresh_store(*tasks):
            yield

    return fresh
