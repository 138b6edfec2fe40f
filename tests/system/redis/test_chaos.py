"""The chaos tests of every store, on Redis: processes are killed and frozen, and nothing shows but what must."""

import pytest

from tests.servers import Server
from tests.system.chaos.conftest import controller, history
from tests.system.chaos.test_frozen_workers import (
    test_workers_frozen_at_any_moment_and_any_number_of_times_mix_up_nothing as test_frozen_workers,
)
from tests.system.chaos.test_killed_producers import (
    test_a_killed_producer_loses_nothing_acknowledged_and_repeats_without_a_trace as test_killed_producers,
)
from tests.system.chaos.test_killed_workers import (
    test_killed_workers_that_had_claimed_ahead_of_short_jobs_lose_nothing_and_mix_up_nothing as test_killed_ahead,
)
from tests.system.chaos.test_killed_workers import (
    test_two_hundred_killed_workers_lose_nothing_and_mix_up_nothing as test_killed_workers,
)

__all__ = [
    "controller",
    "history",
    "test_frozen_workers",
    "test_killed_ahead",
    "test_killed_producers",
    "test_killed_workers",
]


@pytest.fixture
def url(any_redis_server: Server) -> str:
    """The URL of an empty store."""
    return any_redis_server.url
