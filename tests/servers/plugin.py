"""The fixtures of `tests.servers`, for all tests; and a line in the report that says which servers there are."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.servers.cluster import Cluster
from tests.servers.sentinel import Sentinel
from tests.servers.server import Server
from tests.servers.start_servers import Servers
from tests.servers.tls import TlsServer
from tests.servers.vendor import VARIABLE, MissingServer, Vendor, find_redis, vendors, version

S = TypeVar("S")


def pytest_report_header() -> str:
    try:
        there = ", ".join(version(vendor.binary) for vendor in vendors().values())
    except MissingServer as missing:
        return f"servers: {missing}"
    if find_redis():
        return f"servers: {there}"
    return (
        f"servers: {there} ONLY: there is no redis-server on PATH or in {VARIABLE}, so nothing is tested on Redis. "
        "`apt-get install redis-server` (Debian, Ubuntu) or `brew install redis` (macOS) brings it."
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "vendor" in metafunc.fixturenames:
        there = vendors()
        metafunc.parametrize("vendor", there.values(), ids=there.keys(), scope="session", indirect=True)


@pytest.fixture(scope="session")
def vendor(request: pytest.FixtureRequest) -> Vendor:
    """Each of the vendors, in turn."""
    return request.param


def _nursery(scope_name: str) -> Iterator[Servers]:
    # Not pytest's own folder: its path may be too long for a socket.
    directory = Path(tempfile.mkdtemp(prefix=f"fifoq-{scope_name}-"))
    try:
        with Servers(directory) as servers:
            yield servers
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def lasting_servers() -> Iterator[Servers]:
    """What starts servers that live as long as the run."""
    yield from _nursery("run")


@pytest.fixture
def servers() -> Iterator[Servers]:
    """What starts servers that live as long as the test."""
    yield from _nursery("test")


@pytest.fixture(scope="session")
def lasting_server(lasting_servers: Servers) -> Callable[[Vendor], Server]:
    return _once(lasting_servers.standalone)


@pytest.fixture(scope="session")
def lasting_cluster(lasting_servers: Servers) -> Callable[[Vendor], Cluster]:
    return _once(lasting_servers.cluster)


@pytest.fixture(scope="session")
def lasting_tls(lasting_servers: Servers) -> Callable[[Vendor], TlsServer]:
    return _once(lasting_servers.tls)


@pytest.fixture
def redis_server(vendor: Vendor, lasting_server: Callable[[Vendor], Server]) -> Server:
    """A standalone server without data. It is shared with other tests: leave it running, and its settings alone."""
    server = lasting_server(vendor)
    server.flush()
    return server


@pytest.fixture
def any_redis_server(lasting_server: Callable[[Vendor], Server]) -> Server:
    """As `redis_server`, of one vendor only: for tests that run on other stores, too, and prove nothing of a vendor."""
    server = lasting_server(next(iter(vendors().values())))
    server.flush()
    return server


@pytest.fixture
def redis_cluster(vendor: Vendor, lasting_cluster: Callable[[Vendor], Cluster]) -> Cluster:
    """A Cluster of three nodes, without data. It is shared with other tests."""
    cluster = lasting_cluster(vendor)
    cluster.flush()
    return cluster


@pytest.fixture
def redis_tls(vendor: Vendor, lasting_tls: Callable[[Vendor], TlsServer]) -> TlsServer:
    """A server that speaks TLS, without data, and the file of its authority."""
    server = lasting_tls(vendor)
    server.flush()
    return server


@pytest.fixture
def redis_sentinel(vendor: Vendor, servers: Servers) -> Sentinel:
    """A primary and its replica under a sentinel, of this test alone."""
    return servers.sentinel(vendor)


@pytest.fixture
def any_redis_sentinel(servers: Servers) -> Sentinel:
    """The same, of one vendor only."""
    return servers.sentinel(next(iter(vendors().values())))


def _once(start: Callable[[Vendor], S]) -> Callable[[Vendor], S]:
    """Start one for each vendor, when it is first asked for."""
    started: dict[str, S] = {}

    def get(vendor: Vendor) -> S:
        if vendor.name not in started:
            started[vendor.name] = start(vendor)
        return started[vendor.name]

    return get
