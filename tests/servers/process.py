"""Server processes, and ports for them."""

import atexit
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

LONG = 30.0
"""Seconds: what takes longer on the busiest machine does not happen any more."""
_PORTS = [port for port in range(20_000, 32_000) if port != 26_379]
"""Below those that Linux gives to outgoing connections: nobody takes one while its server is down for a moment."""


def free_port() -> int:
    """A port that nothing listens on, far from all defaults."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("none of 200 ports between 20000 and 32000 is free")


class _OrphanKiller:
    """The process that outlives this one by a moment, and kills what it left."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def tell(self, sign: str, pid: int) -> None:
        with self._lock:
            if self._process is None:
                # In a session of its own: Ctrl-C is for the tests, which then end their servers themselves.
                program = str(Path(__file__).with_name("kill_orphans.py"))
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", program], stdin=subprocess.PIPE, text=True, start_new_session=True
                )
                atexit.register(self._end, self._process)
            assert self._process.stdin is not None
            self._process.stdin.write(f"{sign}{pid}\n")
            self._process.stdin.flush()

    def _end(self, process: "subprocess.Popen[str]") -> None:
        process.communicate(timeout=LONG)


_orphans = _OrphanKiller()


class Process:
    """One run of a server binary. Its output goes to `log`."""

    def __init__(self, command: list[str], directory: Path, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        _orphans.tell("+", self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait until it has ended. Idempotent."""
        if self.runs:
            self.send(signal.SIGCONT)
            self.send(number)
        self._process.wait(LONG)
        _orphans.tell("-", self.pid)
