"""Redis keeps the contract: on Redis, on Valkey, and in a Cluster."""

import functools
from collections.abc import Callable

import pytest

from fifoq.testing import MakeBackend, QueueContract
from fifoq.testing.contract import ProcessContract
from fifoq.testing.contract.model import EXAMPLES, ModelCases
from fifoq.testing.contract.processes import MakeElsewhere
from fifoq_redis import RedisBackend
from tests.servers import Cluster, Server, Vendor
from tests.servers.vendor import vendors


class TestRedis(QueueContract):
    @pytest.fixture
    def make_backend(self, redis_server: Server) -> MakeBackend:
        return lambda clock: RedisBackend(redis_server.url, clock=clock)


class TestRedisInProcesses(ProcessContract):
    @pytest.fixture
    def make_backend_elsewhere(self, redis_server: Server) -> MakeElsewhere:
        return functools.partial(RedisBackend, redis_server.url)


_PARTS = [part for part in QueueContract.__bases__ if part is not ModelCases or EXAMPLES]


@pytest.fixture
def cluster(lasting_cluster: Callable[[Vendor], Cluster]) -> Cluster:
    """A Cluster of one vendor. It differs from a single server in the slots of keys only."""
    cluster = lasting_cluster(next(iter(vendors().values())))
    cluster.flush()
    return cluster


class TestRedisCluster(*_PARTS):
    """
    All of the kit, and the random runs beside the model only with FIFOQ_TEST_EXAMPLES: without, they prove nothing more
    than on a single server, whose scripts and keys are the same.
    """

    @pytest.fixture
    def make_backend(self, cluster: Cluster) -> MakeBackend:
        return lambda clock: RedisBackend(cluster.url, clock=clock)


class TestRedisClusterInProcesses(ProcessContract):
    @pytest.fixture
    def make_backend_elsewhere(self, cluster: Cluster) -> MakeElsewhere:
        return functools.partial(RedisBackend, cluster.url)
