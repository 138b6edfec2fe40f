"""One server: started with its configuration, killed, frozen, flushed."""

import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.process import LONG, Process, free_port
from tests.servers.vendor import MissingServer, Vendor

PLAIN = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "daemonize": "no", "dir": "."}
"""What every server gets unless it is given something else. Persistence is what a test asks for."""


class Server:
    """
    A standalone server in `directory`, which it keeps over restarts, as its port.

    `config` is that of redis.conf. A value may hold several words: `{"maxmemory": "50mb", "port": "0"}`. A key that is
    there several times in redis.conf is given once, its values in a list.
    """

    def __init__(self, vendor: Vendor, directory: Path, config: Mapping[str, str | list[str]], *words: str) -> None:
        self.vendor = vendor
        self.directory = directory
        self.host = "127.0.0.1"
        self.port = free_port()
        self.socket = directory / "socket"
        self.config: dict[str, str | list[str]] = {**PLAIN, "unixsocket": str(self.socket), **config}
        self._words = words
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def log(self) -> Path:
        """Where it writes what it does."""
        return self.directory / "log"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def client(self, **options: Any) -> "redis.Redis":
        """A synchronous client of its own connections, for the tests: it repeats nothing, and waits some seconds."""
        given: Any = {"host": self.host, "port": self.port, "socket_timeout": 10.0, "retry": Retry(NoBackoff(), 0)}
        return redis.Redis(**{**given, **options})

    def start(self) -> None:
        """Start it, and wait until it answers and has loaded its data. On its first start it may choose its port."""
        for _ in range(5):
            self._process = Process([self.vendor.binary, str(self._write()), *self._words], self.directory, self.log)
            if self._answers(self._process):
                return
            if "ddress already in use" not in self._said():
                break
            self.port = free_port()
            if "cluster-port" in self.config:
                self.config["cluster-port"] = str(free_port())
        raise MissingServer(f"{self.vendor.binary} did not start in {self.directory}. It said:\n{self._said()}")

    def kill(self) -> None:
        """SIGKILL: nothing is written, nobody is told."""
        if self._process is not None:
            self._process.end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, if it runs, and start it again on the same port with what it has on disk."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stand, nothing is answered."""
        assert self._process is not None
        self._process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: what has piled up is answered."""
        assert self._process is not None
        self._process.send(signal.SIGCONT)

    def flush(self) -> None:
        """Remove all data, once it is certain that it is this server's own. Settings, users and scripts stay."""
        with self.client() as client:
            told: Any = client.info("server")
            if told["process_id"] != self.pid:
                raise AssertionError(f"port {self.port} answers, but is not the server that was started here")
            client.flushall()

    def user(self, name: str, password: str, *rules: str) -> str:
        """Make a user of these ACL rules (`~fifoq:*`, `+@all`); return the URL for it."""
        with self.client() as client:
            client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules)
        return f"redis://{quote(name, safe='')}:{quote(password, safe='')}@{self.host}:{self.port}/0"

    def _write(self) -> Path:
        path = self.directory / "server.conf"
        settings = {"port": str(self.port), **self.config}
        lines = [
            " ".join([name, value or '""'])
            for name, values in settings.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        path.write_text("\n".join(lines) + "\n")
        return path

    def _answers(self, process: Process) -> bool:
        """Whether it answers in time. A server that ended never will."""
        end = time.monotonic() + LONG
        with self.client() as client:
            while time.monotonic() < end and process.runs:
                try:
                    if client.info("server")["process_id"] == process.pid:
                        return True
                except redis.AuthenticationError:
                    return True
                except redis.RedisError:
                    pass  # not there yet, or loading
                time.sleep(0.01)
        return False

    def _said(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-15:])


def password() -> str:
    """One that nobody could confuse with anything else that is printed."""
    return f"secret-{secrets.token_hex(8)}"
