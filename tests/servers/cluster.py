"""A Cluster of three nodes, and slots that move between them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from tests.servers.process import LONG, free_port
from tests.servers.server import Server
from tests.servers.vendor import Vendor

SLOTS = 16_384


class Cluster:
    """Three primaries, a third of the slots each. `url` names all of them."""

    def __init__(self, vendor: Vendor, directory: Path, config: Mapping[str, str | list[str]]) -> None:
        self.vendor = vendor
        self.nodes: list[Server] = []
        for number in range(3):
            folder = directory / f"node-{number}"
            folder.mkdir(parents=True)
            # The bus gets a port of its own: by default it is the port plus 10,000, which may be taken.
            of_cluster = {
                "cluster-enabled": "yes",
                "cluster-config-file": "nodes.conf",
                "cluster-node-timeout": "2000",
                "cluster-port": str(free_port()),
            }
            self.nodes.append(Server(vendor, folder, {**of_cluster, **config}))

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start the nodes, make them one cluster, and wait until each of them serves."""
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        share = -(-SLOTS // len(self.nodes))
        for number, node in enumerate(self.nodes):
            begin = number * share
            self._say(node, "SET-CONFIG-EPOCH", number + 1)
            self._say(node, "ADDSLOTSRANGE", begin, min(begin + share, SLOTS) - 1)
        for node in self.nodes[1:]:
            self._say(node, "MEET", first.host, first.port, int(str(first.config["cluster-port"])))
        self.settle()

    def settle(self) -> None:
        """Wait until all nodes know each other and serve all slots."""
        end = time.monotonic() + LONG
        while not all(self._serves(node) for node in self.nodes):
            if time.monotonic() > end:
                raise AssertionError(f"the cluster of {self.url} did not come together")
            time.sleep(0.02)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()

    def client(self) -> "redis.RedisCluster":
        """A synchronous client of the whole cluster."""
        return redis.RedisCluster(host=self.nodes[0].host, port=self.nodes[0].port)

    def slot(self, key: str) -> int:
        """The slot of a key, or of its hash tag."""
        return key_slot(key.encode())

    def owner(self, slot: int) -> Server:
        """The node that serves a slot."""
        for node in self.nodes:
            with node.client() as client:
                found: Any = client.execute_command("CLUSTER", "SLOTS")
            for begin, last, primary, *_ in found:
                if begin <= slot <= last:
                    return next(one for one in self.nodes if one.port == int(primary[1]))
        raise AssertionError(f"nobody serves slot {slot}")

    def move(self, slot: int, pause: float = 0.0) -> Server:
        """
        Give a slot to the next node, key by key, as `redis-cli --cluster reshard` does; return that node.

        `pause` seconds pass between two keys: as long as that lasts, some keys are here, and some are there.
        """
        source = self.owner(slot)
        target = self.nodes[(self.nodes.index(source) + 1) % len(self.nodes)]
        ids = {node.port: self._id(node) for node in self.nodes}
        self._say(target, "SETSLOT", slot, "IMPORTING", ids[source.port])
        self._say(source, "SETSLOT", slot, "MIGRATING", ids[target.port])
        with source.client() as client:
            while keys := self._say(source, "GETKEYSINSLOT", slot, 1):
                client.execute_command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
                time.sleep(pause)
        for node in (target, source, *self.nodes):
            self._say(node, "SETSLOT", slot, "NODE", ids[target.port])
        return target

    def _id(self, node: Server) -> str:
        return self._say(node, "MYID").decode()

    def _say(self, node: Server, *words: Any) -> Any:
        with node.client() as client:
            name, *rest = words
            # redis-py would read the answers of some of these; the words it does not know come back as they are.
            return client.execute_command(f"CLUSTER {name}", *rest) if rest else client.execute_command("CLUSTER", name)

    def _serves(self, node: Server) -> bool:
        with node.client() as client:
            told = str(client.execute_command("CLUSTER", "INFO"))
        return "cluster_state:ok" in told and f"cluster_known_nodes:{len(self.nodes)}" in told
