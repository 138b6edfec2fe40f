"""A primary, its replica, and sentinels that watch over them."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis

from tests.servers.process import LONG
from tests.servers.server import Server
from tests.servers.vendor import Vendor

SERVICE = "primary"
"""The name under which the sentinels know the primary."""


class Sentinel:
    """Two servers that replicate, and `sentinels` processes of which any one may decide a failover."""

    def __init__(
        self, vendor: Vendor, directory: Path, config: Mapping[str, str | list[str]], *, sentinels: int = 1
    ) -> None:
        def folder(name: str) -> Path:
            (directory / name).mkdir(parents=True)
            return directory / name

        replicates = {"repl-diskless-sync-delay": "0", "repl-timeout": "10", **config}
        self.vendor = vendor
        self.servers = [Server(vendor, folder(f"server-{number}"), replicates) for number in range(2)]
        self.sentinels = [Server(vendor, folder(f"sentinel-{n}"), {}, "--sentinel") for n in range(sentinels)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{one.host}:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def primary(self) -> Server:
        """The one that the sentinels call the primary."""
        port = self._told_port()
        return next(one for one in self.servers if one.port == port)

    @property
    def replica(self) -> Server:
        """The other one."""
        port = self._told_port()
        return next(one for one in self.servers if one.port != port)

    def start(self) -> None:
        """Start all, and wait until the replica has caught up and the sentinels know of it."""
        first, second = self.servers
        first.start()
        second.start()
        with second.client() as client:
            client.execute_command("REPLICAOF", first.host, first.port)
        for one in self.sentinels:
            one.config = {
                "bind": "127.0.0.1",
                "dir": ".",
                "sentinel": [
                    # A busy machine answers late: with less patience a sentinel takes the living for dead.
                    f"monitor {SERVICE} {first.host} {first.port} 1",
                    f"down-after-milliseconds {SERVICE} 2000",
                    f"failover-timeout {SERVICE} 3000",
                ],
            }
            one.start()
        self._until(lambda: self._is_linked(second) and self._knows_replica(), "know of its replica")

    def fail_over(self) -> Server:
        """Have the sentinels make the replica the primary, while both live; return the new one."""
        before, old = self._told_port(), self.primary
        # Refused for as long as the sentinel has not seen the replica well, which it asks about once in a while.
        self._until(self._orders_failover, "agree to fail over")
        new = self.await_failover(before)
        # The sentinels say this to the old one too, but give it eight seconds, in which both take writes.
        with old.client() as client:
            client.execute_command("REPLICAOF", new.host, new.port)
        return new

    def await_failover(self, before: int) -> Server:
        """Wait until the primary is another one than that of port `before`, and takes writes; return it."""
        self._until(lambda: self._told_port() != before and self._is_primary(self.primary), "fail over")
        return self.primary

    def kill(self) -> None:
        for one in (*self.sentinels, *self.servers):
            one.kill()

    def _orders_failover(self) -> bool:
        with self.sentinels[0].client() as client:
            return bool(client.execute_command("SENTINEL", "FAILOVER", SERVICE))

    def _told_port(self) -> int:
        with self.sentinels[0].client() as client:
            address: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(address[1])

    def _knows_replica(self) -> bool:
        for one in self.sentinels:
            with one.client() as client:
                told = client.info("sentinel")["master0"]
            if (told["slaves"], told["sentinels"]) != (1, len(self.sentinels)):
                return False
        return True

    def _is_linked(self, server: Server) -> bool:
        with server.client() as client:
            return client.info("replication").get("master_link_status") == "up"

    def _is_primary(self, server: Server) -> bool:
        with server.client() as client:
            return client.info("replication")["role"] == "master"

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + LONG
        while not self._tries(holds):
            if time.monotonic() > end:
                raise AssertionError(f"the sentinels of {self.url} did not {what}")
            time.sleep(0.02)

    def _tries(self, holds: Callable[[], bool]) -> bool:
        try:
            return holds()
        except redis.RedisError:
            return False
