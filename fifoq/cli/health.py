"""
Health of workers, for probes: an HTTP server with /live and /ready, a file that is touched, and systemd's socket.

All in threads of their own, so that a task that blocks the event loop blocks no probe. A store that is down makes a
worker not ready; it stays alive, as no restart would help.
"""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, cast

from fifoq.errors import ConfigurationError

BEAT = 1.0
"""Seconds between two beats."""


class Health(NamedTuple):
    """The health of a worker, or of all that a supervisor has. `why`: the reason, if it is not ready."""

    live: bool
    ready: bool
    why: str = ""
    detail: dict[str, Any] | None = None


Look = Callable[[], Health]


class HealthServer:
    """Serves /live and /ready: status 200 or 503, and a JSON object."""

    def __init__(self, address: str, look: Look) -> None:
        host, port = _parsed(address)
        try:
            self._server = _Server((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"Health cannot be served at {address}: {getattr(error, 'strerror', None) or error}. Choose another "
                "address: --health, or FIFOQ_HEALTH."
            ) from error
        self._server.look = look
        self.line = f"Health is served at http://{host}:{self._server.server_address[1]}/live and /ready."
        """For the log, once that is configured."""
        threading.Thread(target=self._server.serve_forever, name="fifoq-health", daemon=True).start()

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    look: Look
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        # That of HTTPServer asks the name service for the name of this host, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 5.0
    server_version = "fifoq"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path not in ("/live", "/ready"):
            self._answer(404, {"error": "there are /live and /ready"})
            return
        health = cast("_Server", self.server).look()
        good = health.live if path == "/live" else health.ready
        self._answer(
            200 if good else 503,
            {"live": health.live, "ready": health.ready, "why": health.why or None, **(health.detail or {})},
        )

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: probes come every few seconds."""


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise ConfigurationError(f"The address for health is HOST:PORT, like 127.0.0.1:8090, not {address!r}.")
    return host or "127.0.0.1", int(port)


class Beats:
    """Every second: touches the file while ready, and notifies systemd. `beat` is called in a thread, or by a loop."""

    def __init__(self, file: str | None) -> None:
        self._file = None if file is None else Path(file)
        self._socket = os.environ.get("NOTIFY_SOCKET")
        self._announced = False
        if self._file is not None:
            self._remove()  # of an earlier run
            try:
                self._file.touch()
                self._file.unlink()
            except OSError as error:
                raise ConfigurationError(f"The health file {file} cannot be written: {error.strerror}.") from error

    def beat(self, health: Health) -> None:
        """Pass on the health as it is now."""
        if health.ready and self._file is not None:
            with contextlib.suppress(OSError):
                self._file.touch()
        if health.ready and not self._announced:
            self._announced = True
            self.notify("READY=1")
        if health.live and "WATCHDOG_USEC" in os.environ:
            self.notify("WATCHDOG=1")

    def stopping(self) -> None:
        """Note that no more jobs are claimed."""
        self.notify("STOPPING=1")
        self._remove()

    def _remove(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)

    def notify(self, state: str) -> None:
        """Send a state to systemd, if it has started this process."""
        if not self._socket:
            return
        address = f"\0{self._socket[1:]}" if self._socket.startswith("@") else self._socket
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect(address)
            out.sendall(state.encode())
