"""
What enqueueing costs a FastAPI route: `python -m benchmarks.fastapi [--redis URL] [--arq PYTHON] [--quick]`.

The same route with and without an enqueue, each served by a uvicorn of its own and loaded in turn through 64
connections. `--redis` names a server that may be filled; `--arq` an interpreter that has arq, FastAPI and uvicorn.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import load
from benchmarks.measure import Spread, table

CONNECTIONS = 64
BARE = "bare"
BARS = {"fifoq on memory": 0.85, "fifoq on redis": 0.6}
"""What part of the bare route's rate a route that enqueues has at least."""
ARQ = "arq"
TIMES_ARQ = 2.0
HEAD = ["route", "requests/s", "of bare", "CPU µs", "of bare", "at least"]


class Side(NamedTuple):
    """One app, and how it is served."""

    side: str
    """What benchmarks/fastapi_app.py calls it."""
    url: str = "memory://"
    python: str = sys.executable


class Round(NamedTuple):
    """One round of one side."""

    rate: float
    cost: float
    """Microseconds of the server's processor time a request."""


class Server:
    """A uvicorn at work."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self._address = address

    def round(self, seconds: float) -> Round:
        """Load it for a while."""
        before = self._processor()
        done = load(f"{self._address}/scores/m1?goals=3", CONNECTIONS, seconds)
        if done.errors:
            raise SystemExit(f"{done.errors} of {done.requests} requests failed: nothing was measured")
        return Round(done.rate, 1e6 * (self._processor() - before) / done.requests)

    def _processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", metavar="URL", help="also on this Redis")
    parser.add_argument("--arq", metavar="PYTHON", help="also arq, under this interpreter")
    parser.add_argument("--quick", action="store_true", help="a look: two rounds of a second")
    told = parser.parse_args()
    sides = {
        BARE: Side("bare"),
        "fifoq on memory": Side("fifoq"),
        "fifoq on memory, run by a worker in the app": Side("fifoq with a worker"),
    }
    if told.redis:
        sides["fifoq on redis"] = Side("fifoq", told.redis)
        if told.arq:
            sides[ARQ] = Side("arq", told.redis, told.arq)
    rounds, seconds = (2, 1.0) if told.quick else (7, 3.0)
    print(table(HEAD, rows(measure(sides, rounds, seconds))))


def measure(sides: Mapping[str, Side], rounds: int, seconds: float) -> dict[str, list[Round]]:
    """Load all sides in turn, so many times, after one round that does not count."""
    found: dict[str, list[Round]] = {name: [] for name in sides}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(side)) for name, side in sides.items()}
        for number in range(rounds + 1):
            for name, server in servers.items():
                measured = server.round(seconds)
                if number:
                    found[name].append(measured)
    return found


def rows(found: Mapping[str, list[Round]]) -> list[list[str]]:
    """The table: rates and costs, and the ratios of what shared a round."""
    return [[name, *cells(name, found)] for name in found]


def cells(name: str, found: Mapping[str, list[Round]]) -> list[str]:
    bare, own = found[BARE], found[name]
    rate = Spread.of([mine.rate / his.rate for mine, his in zip(own, bare, strict=True)])
    cost = Spread.of([mine.cost / his.cost for mine, his in zip(own, bare, strict=True)])
    bars = [f"{BARS[name]} ({'met' if rate.median >= BARS[name] else 'MISSED'})"] if name in BARS else []
    if name == "fifoq on redis" and ARQ in found:
        times = Spread.of([mine.rate / his.rate for mine, his in zip(own, found[ARQ], strict=True)]).median
        bars.append(f"{TIMES_ARQ} × arq: {times:.2f} ({'met' if times >= TIMES_ARQ else 'MISSED'})")
    return [
        str(Spread.of([each.rate for each in own])),
        rate.fine(),
        Spread.of([each.cost for each in own]).fine(),
        cost.fine(),
        ", ".join(bars),
    ]


@contextmanager
def served(side: Side) -> Generator[Server]:
    """Serve an app until the end of the block."""
    environment = os.environ | {"BENCH_SIDE": side.side, "BENCH_URL": side.url}
    command = [side.python, "-m", "uvicorn", "benchmarks.fastapi_app:app", "--port", "0", "--no-access-log"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stderr=said, stdout=said)
        try:
            yield Server(process, address_in(said, process))
        finally:
            process.terminate()
            process.wait()


def address_in(said, process: subprocess.Popen[bytes]) -> str:
    """Wait until uvicorn says where it listens."""
    while process.poll() is None:
        said.seek(0)
        found = re.search(r"running on (http://\S+)", said.read())
        if found:
            return found[1]
        time.sleep(0.05)
    said.seek(0)
    raise SystemExit(f"the server did not start:\n{said.read()}")


if __name__ == "__main__":
    main()
