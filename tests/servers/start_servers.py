"""Starts servers, each in a folder of its own, and ends them all together."""

from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from tests.servers.cluster import Cluster
from tests.servers.proxy import Proxy
from tests.servers.sentinel import Sentinel
from tests.servers.server import Server
from tests.servers.tls import TlsServer
from tests.servers.vendor import Vendor


class Startable(Protocol):
    def start(self) -> None: ...
    def kill(self) -> None: ...


S = TypeVar("S", bound=Startable)


class Servers:
    """
    Servers that live as long as a block: `with Servers(directory) as servers`.

    Configuration is that of redis.conf, with `_` for `-`: `servers.standalone(vendor, maxmemory_policy="noeviction")`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count()
        self._stack = ExitStack()

    def standalone(self, vendor: Vendor, **config: str) -> Server:
        return self._start(vendor, lambda folder: Server(vendor, folder, _names(config)))

    def cluster(self, vendor: Vendor, **config: str) -> Cluster:
        return self._start(vendor, lambda folder: Cluster(vendor, folder, _names(config)))

    def sentinel(self, vendor: Vendor, *, sentinels: int = 1, **config: str) -> Sentinel:
        return self._start(vendor, lambda folder: Sentinel(vendor, folder, _names(config), sentinels=sentinels))

    def tls(self, vendor: Vendor, **config: str) -> TlsServer:
        return self._start(vendor, lambda folder: TlsServer(vendor, folder, _names(config)))

    def proxy(self, server: Server) -> Proxy:
        """A proxy in front of a server."""
        return self._stack.enter_context(Proxy(server.port))

    def _start(self, vendor: Vendor, make: Callable[[Path], S]) -> S:
        folder = self._directory / f"{vendor}-{next(self._numbers)}"
        folder.mkdir()
        made = make(folder)
        self._stack.callback(made.kill)
        made.start()
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)


def _names(config: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in config.items()}
