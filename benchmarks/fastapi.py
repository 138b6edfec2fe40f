"""
What enqueueing costs a FastAPI route: `python -m benchmarks.fastapi [--redis URL] [--arq PYTHON] [--quick]`.

The same route with and without an enqueue, each served by a uvicorn of its own and loaded in turn through 64
connections, with 1,000 ordering keys. Many short rounds: the machine's speed drifts, and what shares a round shares the
weather. And several servers of each side: of two that run the same code, one may be a tenth slower as long as it lives.
`--redis` names a server that may be filled; `--arq` an interpreter that has arq, FastAPI and uvicorn. All
servers use the same HTTP parser and loop: the fastest that every interpreter has.

`fifoq on …` is enqueueing alone. Its jobs pile up during a round, the collection of their garbage included, and are run
after it, out of the count: no app keeps a backlog that only grows. `run by a worker in the app` is all of it: the same
process runs each job as well, while it serves; no bar is set for that. `an asyncio.Queue` keeps what it is given with
an id, `a call, not enqueued` is checked and packed and forgotten: what the least costs, and a part.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

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
    drains: bool = False
    """Its jobs are to be run after each round."""


class Round(NamedTuple):
    """One round of one side."""

    rate: float
    cost: float
    """Microseconds of the server's processor time a request."""


class Server:
    """A uvicorn at work."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, *, drains: bool) -> None:
        self._process = process
        self._address = address
        self._drains = drains

    def round(self, seconds: float) -> Round:
        """Load it for a while."""
        before = self._processor()
        done = load(f"{self._address}/scores/m{{}}?goals=3", CONNECTIONS, seconds)
        cost = 1e6 * (self._processor() - before) / done.requests
        if done.errors:
            raise SystemExit(f"{done.errors} of {done.requests} requests failed: nothing was measured")
        if self._drains:
            urlopen(Request(f"{self._address}/drain", method="POST"), timeout=600).close()
        return Round(done.rate, cost)

    def _processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", metavar="URL", help="also on this Redis")
    parser.add_argument("--arq", metavar="PYTHON", help="also arq, under this interpreter")
    parser.add_argument("--quick", action="store_true", help="a look: three rounds")
    told = parser.parse_args()
    sides = {
        BARE: Side("bare"),
        "an asyncio.Queue": Side("queue", drains=True),
        "a call, not enqueued": Side("bound"),
        "fifoq on memory": Side("fifoq", drains=True),
        "fifoq on memory, run by a worker in the app": Side("fifoq with a worker"),
    }
    if told.redis:
        sides["fifoq on redis"] = Side("fifoq", told.redis, drains=True)
        if told.arq:
            sides[ARQ] = Side("arq", told.redis, told.arq)
    print(table(HEAD, rows(measure(sides, 1 if told.quick else 8, 3, 1.0))))


def measure(sides: Mapping[str, Side], servers: int, rounds: int, seconds: float) -> dict[str, list[Round]]:
    """Load so many servers of each side, so many times, all sides in turn, after one round that does not count."""
    found: dict[str, list[Round]] = {name: [] for name in sides}
    options = common_options({side.python for side in sides.values()})
    for _ in range(servers):
        with ExitStack() as stack:
            serving = {name: stack.enter_context(served(side, options)) for name, side in sides.items()}
            for number in range(rounds + 1):
                for name, server in serving.items():
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


def common_options(pythons: Iterable[str]) -> list[str]:
    """What uvicorn is told, so that all servers do the same work outside of the app."""

    def all_have(module: str) -> bool:
        asked = [subprocess.run([each, "-c", f"import {module}"], capture_output=True) for each in pythons]
        return not any(each.returncode for each in asked)

    http, loop = "httptools" if all_have("httptools") else "h11", "uvloop" if all_have("uvloop") else "asyncio"
    return ["--http", http, "--loop", loop, "--no-access-log"]


@contextmanager
def served(side: Side, options: Sequence[str]) -> Generator[Server]:
    """Serve an app until the end of the block."""
    environment = os.environ | {"BENCH_SIDE": side.side, "BENCH_URL": side.url}
    command = [side.python, "-m", "uvicorn", "benchmarks.fastapi_app:app", "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stderr=said, stdout=said)
        try:
            yield Server(process, address_in(said, process), drains=side.drains)
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
