"""Every way to a server: its port, its socket, TLS, a user who may touch nothing else, a cluster, sentinels."""

import traceback
from collections.abc import Callable

import pytest

from fifoq import Fifoq
from fifoq.errors import FifoqError
from fifoq.testing.history import MemoryLog
from tests.servers import Cluster, Sentinel, Server
from tests.servers.server import password
from tests.servers.tls import TlsServer
from tests.system.redis.workload import Load

LEAST = ("~shop:*", "&shop:*", "+@all", "-@admin", "-@dangerous", "+info")
"""What a user of fifoq needs, and no more: keys and channels of its prefix."""


@pytest.fixture
def url_of(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The URL of a store, by the way to it."""

    def socket() -> str:
        server: Server = request.getfixturevalue("redis_server")
        return server.unix_url

    def tls() -> str:
        server: TlsServer = request.getfixturevalue("redis_tls")
        return server.url

    def user() -> str:
        server: Server = request.getfixturevalue("redis_server")
        return server.user("shop", password(), *LEAST) + "?prefix=shop"

    def cluster() -> str:
        servers: Cluster = request.getfixturevalue("redis_cluster")
        return servers.url

    def sentinel() -> str:
        servers: Sentinel = request.getfixturevalue("redis_sentinel")
        return servers.url

    ways = {"socket": socket, "tls": tls, "user": user, "cluster": cluster, "sentinel": sentinel}
    return lambda way: ways[way]()


@pytest.mark.usefixtures("vendor")
@pytest.mark.parametrize("way", ["socket", "tls", "user", "cluster", "sentinel"])
async def test_jobs_run_in_order_by_every_way_to_a_server(
    url_of: Callable[[str], str], log: MemoryLog, way: str
) -> None:
    async with Load(url_of(way), log) as load, load.workers(2):
        await load.put(60)
        await load.all_ended()
        await load.attentive()
        await load.prove()
        await load.assert_every_reply_was_received()


async def test_a_certificate_of_an_unknown_authority_is_refused(redis_tls: TlsServer) -> None:
    tasks = Fifoq(f"rediss://127.0.0.1:{redis_tls.port}/0", patience=0.2)
    with pytest.raises(FifoqError, match="certificate"):
        await tasks.__aenter__()


async def test_a_password_is_shown_by_no_error_and_no_repr(redis_server: Server) -> None:
    right, wrong = password(), password()
    redis_server.user("shop", right, *LEAST)
    url = f"redis://shop:{wrong}@127.0.0.1:{redis_server.port}/0?prefix=shop"
    tasks = Fifoq(url, patience=0.2)
    with pytest.raises(FifoqError) as caught:
        await tasks.__aenter__()
    said = "".join(traceback.format_exception(caught.value))
    assert wrong not in f"{tasks!r} {tasks} {said}"
