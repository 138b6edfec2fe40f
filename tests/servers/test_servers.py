"""The servers that other tests rely on: they start, obey, lose what they are told to lose, and leave nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.servers import Cluster, Sentinel, Server, Servers, Vendor
from tests.servers.process import LONG
from tests.servers.proxy import script_with
from tests.servers.start_servers import Servers as Nursery
from tests.servers.tls import TlsServer
from tests.servers.vendor import MissingServer, find_redis

ROOT = Path(__file__).parents[2]
START_AND_WAIT = """
import sys, tempfile, pathlib
from tests.servers.start_servers import Servers
from tests.servers.vendor import vendors

with Servers(pathlib.Path(tempfile.mkdtemp(dir=sys.argv[1]))) as servers:
    print(servers.standalone(vendors()["valkey"]).pid, flush=True)
    sys.stdin.read()
"""


def test_a_server_is_of_its_vendor_and_on_no_default_port(redis_server: Server, vendor: Vendor) -> None:
    with redis_server.client() as client:
        told = client.info("server")
    assert (told.get("server_name") or "redis") == vendor.name
    assert redis_server.port not in (6379, 16379, 26379)
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        assert client.ping()


def test_what_is_appended_outlives_sigkill(servers: Servers, vendor: Vendor) -> None:
    server = servers.standalone(vendor, appendonly="yes", appendfsync="always")
    with server.client() as client:
        client.set("key", "value")
        server.restart()
        assert client.get("key") == b"value"


def test_a_frozen_server_keeps_its_connections_and_answers_late(servers: Servers, vendor: Vendor) -> None:
    server = servers.standalone(vendor)
    with server.client(socket_timeout=0.2) as client:
        client.ping()
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.set("key", "value")
        server.thaw()
        assert client.get("key") == b"value"


def test_a_server_that_is_not_the_one_started_here_is_not_flushed(servers: Servers, vendor: Vendor) -> None:
    mine, other = servers.standalone(vendor), servers.standalone(vendor)
    with other.client() as client:
        client.set("key", "value")
        mine.port = other.port
        with pytest.raises(AssertionError, match="not the server"):
            mine.flush()
        assert client.get("key") == b"value"


def test_a_user_may_do_what_its_rules_say(redis_server: Server) -> None:
    url = redis_server.user("joe", "p@ss", "~fifoq:*", "+@all")
    with redis.Redis.from_url(url) as client:
        assert client.set("fifoq:key", 1)
        with pytest.raises(redis.ResponseError):
            client.set("key", 1)


def test_a_cut_reply_is_that_of_a_command_that_ran(redis_server: Server, servers: Servers) -> None:
    proxy = servers.proxy(redis_server)
    with redis_server.client(port=proxy.port) as client:
        proxy.cut(script_with(b"mine"), times=2)
        client.eval("return redis.call('incr', KEYS[1])", 1, "yours")
        for expected in (1, 2):
            with pytest.raises(redis.ConnectionError):
                client.eval("return redis.call('incr', KEYS[1])", 1, "mine")
            assert client.get("mine") == str(expected).encode()
        assert client.eval("return redis.call('incr', KEYS[1])", 1, "mine") == 3
        assert proxy.cuts == 2


def test_a_command_cut_before_it_arrives_does_not_run(redis_server: Server, servers: Servers) -> None:
    proxy = servers.proxy(redis_server)
    with redis_server.client(port=proxy.port) as client:
        proxy.cut(lambda command: command[0] == b"INCRBY", before=True)
        with pytest.raises(redis.ConnectionError):
            client.incr("key")
        assert client.get("key") is None


def test_a_proxy_stalls_drops_and_refuses(redis_server: Server, servers: Servers) -> None:
    proxy = servers.proxy(redis_server)
    with redis_server.client(port=proxy.port, socket_timeout=0.2) as client:
        client.ping()
        proxy.stall()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        proxy.flow()
        assert client.ping()
        assert proxy.drop(refuse=True) >= 1
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.heal()
        assert client.ping()


def test_a_silenced_server_replies_and_publishes_nothing(redis_server: Server, servers: Servers) -> None:
    proxy = servers.proxy(redis_server)
    with redis_server.client(port=proxy.port) as client, client.pubsub() as heard:
        heard.subscribe("channel")
        proxy.silence()
        assert client.publish("channel", "lost") == 1
        assert (heard.get_message(timeout=5) or {})["type"] == "subscribe"
        assert heard.get_message(timeout=0.1) is None
        proxy.heal()
        client.publish("channel", "heard")
        assert (heard.get_message(timeout=5) or {})["data"] == b"heard"
        assert proxy.silences == 1


def test_a_proxy_counts_a_pipeline_as_one_round_trip(redis_server: Server, servers: Servers) -> None:
    proxy = servers.proxy(redis_server)
    with redis_server.client(port=proxy.port) as client:
        client.ping()
        commands, turns = proxy.commands, proxy.turns
        with client.pipeline(transaction=False) as pipeline:
            for number in range(10):
                pipeline.set("key", number)
            pipeline.execute()
        assert (proxy.commands - commands, proxy.turns - turns) == (10, 1)


def test_a_clusters_slots_move_with_their_keys(redis_cluster: Cluster) -> None:
    slot = redis_cluster.slot("{tag}")
    with redis_cluster.client() as client:
        for number in range(10):
            client.set(f"{{tag}}{number}", number)
        before = redis_cluster.owner(slot)
        assert redis_cluster.move(slot) is not before
        assert redis_cluster.owner(slot) is not before
        assert client.get("{tag}7") == b"7"


def test_sentinels_make_the_replica_the_primary(any_redis_sentinel: Sentinel) -> None:
    before = any_redis_sentinel.primary
    before.kill()
    after = any_redis_sentinel.await_failover(before.port)
    assert after is not before
    with after.client() as client:
        assert client.set("key", "value")


def test_tls_is_spoken_and_the_certificate_is_good(redis_tls: TlsServer) -> None:
    options = {"port": redis_tls.port, "ssl": True}
    with redis_tls.server.client(**options, ssl_ca_certs=str(redis_tls.authority)) as client:
        assert client.ping()
    with redis_tls.server.client(**options) as stranger, pytest.raises(redis.ConnectionError):
        stranger.ping()


def test_servers_die_with_a_run_that_is_killed(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    os.kill(pid, 0)
    run.kill()
    run.communicate(timeout=LONG)
    end = time.monotonic() + LONG
    while is_alive(pid):
        assert time.monotonic() < end, f"server {pid} outlived the run that started it"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether it runs. One that ended, and that nobody has asked about, does not."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(said) and not said.startswith("Z")


def test_a_server_that_does_not_start_says_why(tmp_path: Path, vendor: Vendor) -> None:
    with Nursery(tmp_path) as servers, pytest.raises(MissingServer, match="nonsense"):
        servers.standalone(vendor, maxmemory_policy="nonsense")


def test_a_named_server_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFOQ_TEST_REDIS_SERVER", "/nowhere/redis-server")
    with pytest.raises(MissingServer, match="Install redis-server"):
        find_redis()
