"""
The cost of an enqueue in a FastAPI route: `python -m benchmarks.fastapi [--redis URL] [--arq PYTHON] [--quick]`.

The same route with and without an enqueue, each served by a uvicorn of its own and loaded in turn through 64
connections, with 1,000 ordering keys. The rounds are short and many, because the machine's speed drifts and the routes
of one round meet the same speed. Each route has several servers, one after another, because of two servers with the
same code one may be a tenth slower for all its life. `--redis` names a server whose data may be overwritten; `--arq` an
interpreter that has arq, FastAPI and uvicorn. All servers use the same HTTP parser and loop: the fastest that every
interpreter has.

`fifoq on …` is the enqueue alone. Its jobs pile up during a round, the collection of their garbage included, and run
after the round, uncounted, as no app keeps a backlog that only grows. `run by a worker in the app` is the whole work:
the same process also runs each job while it serves; there is no target for that. Two rows show parts of the cost: `an
asyncio.Queue` stores the arguments with an id; `a call, not enqueued` is checked and packed.
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
from typing import IO, NamedTuple
from urllib.request import Request, urlopen

from benchmarks.load import load
from benchmarks.measure import Spread, table

CONNECTIONS = 64
BARE = "bare"
TARGETS = {"fifoq on memory": 0.85, "fifoq on redis": 0.6}
"""The rate of a route that enqueues, as a part of the bare route's rate."""
ARQ = "arq"
TIMES_ARQ = 2.0
HEAD = ["route", "requests/s", "of bare", "CPU µs", "of bare", "target"]


class App(NamedTuple):
    """One app, and the way to serve it."""

    name: str
    """The name of the app in benchmarks/fastapi_app.py."""
    url: str = "memory://"
    python: str = sys.executable
    drains: bool = False
    """Whether its jobs run after each round."""


class Round(NamedTuple):
    """The result of one round of one app."""

    rate: float
    cost: float
    """Microseconds of the server's processor time a request."""


class Server:
    """A running uvicorn."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, *, drains: bool) -> None:
        self._process = process
        self._address = address
        self._drains = drains

    def round(self, seconds: float) -> Round:
        """Load the server for so many seconds."""
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
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", metavar="URL", help="also on this Redis")
    parser.add_argument("--arq", metavar="PYTHON", help="also arq, under this interpreter")
    parser.add_argument("--quick", action="store_true", help="a look: three rounds")
    options = parser.parse_args()
    apps = {
        BARE: App("bare"),
        "an asyncio.Queue": App("queue", drains=True),
        "a call, not enqueued": App("bound"),
        "fifoq on memory": App("fifoq", drains=True),
        "fifoq on memory, run by a worker in the app": App("fifoq with a worker"),
    }
    if options.redis:
        apps["fifoq on redis"] = App("fifoq", options.redis, drains=True)
        if options.arq:
            apps[ARQ] = App("arq", options.redis, options.arq)
    print(table(HEAD, rows(measure(apps, 1 if options.quick else 8, 3, 1.0))))


def measure(apps: Mapping[str, App], servers: int, rounds: int, seconds: float) -> dict[str, list[Round]]:
    """Load so many servers of each app, so many times, all apps in turn, after one round that does not count."""
    found: dict[str, list[Round]] = {name: [] for name in apps}
    options = common_options({app.python for app in apps.values()})
    for _ in range(servers):
        with ExitStack() as stack:
            serving = {name: stack.enter_context(served(app, options)) for name, app in apps.items()}
            for number in range(rounds + 1):
                for name, server in serving.items():
                    measured = server.round(seconds)
                    if number:
                        found[name].append(measured)
    return found


def rows(found: Mapping[str, list[Round]]) -> list[list[str]]:
    """The table: rates and costs, and the ratios within a round."""
    return [[name, *cells(name, found)] for name in found]


def cells(name: str, found: Mapping[str, list[Round]]) -> list[str]:
    bare, own = found[BARE], found[name]
    rate = Spread.of([mine.rate / other.rate for mine, other in zip(own, bare, strict=True)])
    cost = Spread.of([mine.cost / other.cost for mine, other in zip(own, bare, strict=True)])
    targets = [f"{TARGETS[name]} ({'met' if rate.median >= TARGETS[name] else 'MISSED'})"] if name in TARGETS else []
    if name == "fifoq on redis" and ARQ in found:
        times = Spread.of([mine.rate / other.rate for mine, other in zip(own, found[ARQ], strict=True)]).median
        targets.append(f"{TIMES_ARQ} × arq: {times:.2f} ({'met' if times >= TIMES_ARQ else 'MISSED'})")
    return [
        str(Spread.of([each.rate for each in own])),
        rate.fine(),
        Spread.of([each.cost for each in own]).fine(),
        cost.fine(),
        ", ".join(targets),
    ]


def common_options(pythons: Iterable[str]) -> list[str]:
    """The options of uvicorn with which all servers do the same work outside of the app."""

    def all_have(module: str) -> bool:
        imports = [subprocess.run([each, "-c", f"import {module}"], capture_output=True) for each in pythons]
        return not any(each.returncode for each in imports)

    http, loop = "httptools" if all_have("httptools") else "h11", "uvloop" if all_have("uvloop") else "asyncio"
    return ["--http", http, "--loop", loop, "--no-access-log"]


@contextmanager
def served(app: App, options: Sequence[str]) -> Generator[Server]:
    """Serve an app until the end of the block."""
    environment = os.environ | {"BENCH_APP": app.name, "BENCH_URL": app.url}
    command = [app.python, "-m", "uvicorn", "benchmarks.fastapi_app:app", "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, stderr=output, stdout=output)
        try:
            yield Server(process, address_in(output, process), drains=app.drains)
        finally:
            process.terminate()
            process.wait()


def address_in(output: IO[str], process: subprocess.Popen[bytes]) -> str:
    """Wait until uvicorn has printed its address."""
    while process.poll() is None:
        output.seek(0)
        found = re.search(r"running on (http://\S+)", output.read())
        if found:
            return found[1]
        time.sleep(0.05)
    output.seek(0)
    raise SystemExit(f"the server did not start:\n{output.read()}")


if __name__ == "__main__":
    main()
