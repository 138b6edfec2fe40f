"""The benchmarks of fifoq on Redis: `python -m benchmarks.redis [--only NAME] [--quick] [--vendor valkey]`."""

import argparse
import asyncio
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar

from benchmarks import redis_depth
from benchmarks.contest import Contest, Drained, Enqueued
from benchmarks.contestants.on_redis.contestant import BATCH, FLIGHT, ONE
from benchmarks.measure import Spread, percentile, table
from tests.servers import Servers
from tests.servers.vendor import vendors
from tests.servers.vendor import version as version_of

R = TypeVar("R")
CONTESTANTS = ("fifoq", "dramatiq", "taskiq", "saq", "arq", "huey")
AT_LEAST_ONCE = ("dramatiq", "taskiq", "saq", "arq")
KEYS = 100


class Scale(NamedTuple):
    """The extent of the measurements: that of the README, or a quick look."""

    jobs: int
    rounds: int
    samples: int
    deepest: int

    @classmethod
    def of(cls, quick: bool) -> "Scale":
        return cls(5_000, 1, 200, 100_000) if quick else cls(20_000, 3, 500, 1_000_000)


class Target(NamedTuple):
    """A measured value, and the least that it must be, or the most."""

    name: str
    value: float
    target: float
    at_most: bool = False

    def row(self) -> list[str]:
        met = self.value <= self.target if self.at_most else self.value >= self.target
        return [self.name, f"{self.value:.2f}", f"{'≤' if self.at_most else '≥'} {self.target}", "yes" if met else "NO"]


def in_turn(runs: Mapping[str, Callable[[], R]], rounds: int) -> dict[str, list[R]]:
    """Run all in turn, so many times: the machine's speed drifts, and the runs of one round meet the same speed."""
    found: dict[str, list[R]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
            print(f"  {name}: {found[name][-1]}", flush=True)
    return found


def ratio(ours: Sequence[Drained | Enqueued], theirs: Sequence[Drained | Enqueued]) -> float:
    """The median of the ratios within a round."""
    return Spread.of([one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]).median


def rates(rounds: Sequence[Drained | Enqueued]) -> Spread:
    return Spread.of([one.rate for one in rounds])


def median(rounds: Sequence[Drained], field: str) -> float:
    return Spread.of([getattr(one, field) for one in rounds]).median


def drains(contest: Contest, scale: Scale) -> list[Target]:
    """One worker process and two, no results kept."""
    jobs = scale.jobs
    runs: dict[str, Callable[[], Drained]] = {
        "fifoq, results kept": lambda: contest.drain("fifoq", jobs, keep=True),
        "fifoq": lambda: contest.drain("fifoq", jobs),
        "fifoq, 2 workers": lambda: contest.drain("fifoq", 2 * jobs, 2),
        f"fifoq, {KEYS} keys": lambda: contest.drain("fifoq", jobs, keys=KEYS),
        "fifoq, 1 at a time": lambda: contest.drain("fifoq", jobs // 4, concurrency=1),
    }
    for name in CONTESTANTS[1:]:
        runs[name] = lambda name=name: contest.drain(name, jobs)
        runs[f"{name}, 2 workers"] = lambda name=name: contest.drain(name, 2 * jobs, 2)
    runs["dramatiq, 1 at a time"] = lambda: contest.drain("dramatiq", jobs // 4, concurrency=1)
    found = in_turn(runs, scale.rounds)
    rows = [
        [name, str(rates(all)), *(f"{median(all, field):.2f}" for field in ("trips", "commands"))]
        + [f"{median(all, field):.0f}" for field in ("cost", "server_cost")]
        for name, all in found.items()
    ]
    head = ["drain", "jobs/s", "round trips a job", "commands a job", "worker CPU µs", "server CPU µs"]
    print(table(head, rows))
    ours, one, keys = found["fifoq"], found["fifoq, 1 at a time"], found[f"fifoq, {KEYS} keys"]
    return [
        Target("drain, one worker, of taskiq's stream broker", ratio(ours, found["taskiq"]), 4.0),
        Target("drain, one worker, of dramatiq", ratio(ours, found["dramatiq"]), 3.0),
        Target(f"drain, one worker, {KEYS} keys, of taskiq's stream broker", ratio(keys, found["taskiq"]), 4.0),
        Target("drain, two workers, of one", ratio(found["fifoq, 2 workers"], ours), 1.6),
        Target("drain, 1 job at a time, of dramatiq with 32 threads", ratio(one, found["dramatiq"]), 1.0),
        Target("drain, 1 job at a time, of dramatiq's too", ratio(one, found["dramatiq, 1 at a time"]), 1.0),
        Target("drain, results kept, of not kept", ratio(found["fifoq, results kept"], ours), 0.9),
        Target("round trips a job in a drain", median(found["fifoq"], "trips"), 0.1, at_most=True),
    ]


def lines(contest: Contest, scale: Scale) -> list[Target]:
    """
    One line: the next job begins when the store has the outcome of the one before. Others run one job at a time, which
    keeps no order through retries. The bound is a bare round trip, awaited on one connection.
    """
    jobs = scale.jobs // 4
    runs: dict[str, Callable[[], Drained | Enqueued]] = {
        "fifoq, one key": lambda: contest.drain("fifoq", jobs, keys=1),
        "fifoq, one key, 2 workers": lambda: contest.drain("fifoq", jobs, 2, keys=1),
        "fifoq, ten keys": lambda: contest.drain("fifoq", 2 * jobs, keys=10),
        "bare ECHO": lambda: contest.enqueue("echo", ONE, jobs),
    }
    for name in (*AT_LEAST_ONCE, "huey"):
        runs[f"{name}, 1 at a time"] = lambda name=name: contest.drain(name, jobs, concurrency=1)
    found = in_turn(runs, scale.rounds)
    trips = {name: _trips(all) for name, all in found.items()}
    print(
        table(
            ["line", "jobs/s", "round trips a job"], [[n, str(rates(a)), f"{trips[n]:.2f}"] for n, a in found.items()]
        )
    )
    one = found["fifoq, one key"]
    fastest = min(ratio(one, found[f"{name}, 1 at a time"]) for name in AT_LEAST_ONCE)
    return [
        Target("one line, of a bare round trip", ratio(one, found["bare ECHO"]), 0.3),
        Target("one line, of the fastest other that delivers at least once", fastest, 1.0),
        Target("ten lines, of one", ratio(found["fifoq, ten keys"], one), 3.0),
        Target("round trips a job in one line", trips["fifoq, one key"], 1.1, at_most=True),
        Target("with two workers", trips["fifoq, one key, 2 workers"], 1.1, at_most=True),
    ]


def _trips(rounds: Sequence[Drained | Enqueued]) -> float:
    return Spread.of([one.trips if isinstance(one, Drained) else 1.0 for one in rounds]).median


def enqueues(contest: Contest, scale: Scale) -> list[Target]:
    """Enqueues, without a worker."""
    ways = [("fifoq", ONE), ("saq", ONE), ("fifoq", FLIGHT), ("saq", FLIGHT), ("fifoq", BATCH), ("rq", BATCH)]
    ways += [("taskiq", FLIGHT), ("arq", FLIGHT), ("dramatiq", ONE), ("huey", ONE)]
    runs: dict[str, Callable[[], Enqueued]] = {
        f"{name}, {way}": lambda name=name, way=way: contest.enqueue(name, way, scale.jobs) for name, way in ways
    }
    found = in_turn(runs, scale.rounds)
    costs = {name: Spread.of([one.cost for one in all]).median for name, all in found.items()}
    print(
        table(["enqueue", "jobs/s", "client CPU µs"], [[n, str(rates(a)), f"{costs[n]:.0f}"] for n, a in found.items()])
    )
    return [
        Target("enqueue, one awaited at a time, of SAQ", ratio(found[f"fifoq, {ONE}"], found[f"saq, {ONE}"]), 1.0),
        Target("enqueue, 100 in flight, of SAQ", ratio(found[f"fifoq, {FLIGHT}"], found[f"saq, {FLIGHT}"]), 3.0),
        Target("enqueue, batches, of RQ", ratio(found[f"fifoq, {BATCH}"], found[f"rq, {BATCH}"]), 3.0),
    ]


def latencies(contest: Contest, scale: Scale) -> list[Target]:
    """An idle worker: milliseconds from enqueue to start and to result. huey has to keep results for that."""
    keeps = {"fifoq": False, "huey": True}
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in keeps}
    for _ in range(scale.rounds):
        for name, keep in keeps.items():
            starts, results = contest.latencies(name, scale.samples, keep=keep)
            found[name][0].extend(starts)
            found[name][1].extend(results)
    percents = (50, 95, 99)
    rows = [
        [name, *(f"{1000 * percentile(values, p):.2f}" for values in both for p in percents)]
        for name, both in found.items()
    ]
    print(table(["idle", *(f"{event} p{p} ms" for event in ("start", "result") for p in percents)], rows))
    (start, result), (huey_start, huey_result) = found["fifoq"], found["huey"]
    return [
        Target("enqueue to start, p50, of huey", percentile(start, 50) / percentile(huey_start, 50), 1.0, at_most=True),
        Target(
            "enqueue to result, p50, of huey", percentile(result, 50) / percentile(huey_result, 50), 1.0, at_most=True
        ),
        Target("enqueue to start, p99, of huey", percentile(start, 99) / percentile(huey_start, 99), 1.0, at_most=True),
        Target(
            "enqueue to result, p99, of huey", percentile(result, 99) / percentile(huey_result, 99), 1.0, at_most=True
        ),
        Target("enqueue to start, p50, ms", 1000 * percentile(start, 50), 0.44, at_most=True),
        Target("enqueue to result, p50, ms", 1000 * percentile(result, 50), 0.84, at_most=True),
    ]


def depths(contest: Contest, scale: Scale) -> list[Target]:
    """Claim and settle of the backend, by the number of waiting jobs."""
    shown, worst = asyncio.run(redis_depth.depths(contest.server, scale.deepest, scale.samples // 5))
    print(shown)
    return [
        Target(f"claim and settle, {name}, of 1,000 waiting", ratio, 1.5, at_most=True) for name, ratio in worst.items()
    ]


PARTS: dict[str, Callable[[Contest, Scale], list[Target]]] = {
    "drain": drains,
    "line": lines,
    "enqueue": enqueues,
    "latency": latencies,
    "depth": depths,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="fewer jobs and rounds: a look, not a measurement")
    parser.add_argument("--vendor", choices=vendors(), default=next(iter(vendors())), help="the server")
    parser.add_argument("--asyncio", action="store_true", help="asyncio's own loop for all, instead of uvloop")
    arguments = parser.parse_args()
    vendor, scale = vendors()[arguments.vendor], Scale.of(arguments.quick)
    loop = "asyncio" if arguments.asyncio else "uvloop"
    names = ("redis", "taskiq-redis", "dramatiq", "saq", "arq", "huey", "rq")
    print(f"Python {platform.python_version()}, {platform.machine()}, {loop}, {version_of(vendor.binary)}")
    print(", ".join(f"{name} {version(name)}" for name in names))
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="fifoq-bench-") as folder, Servers(Path(folder)) as servers:
        contest = Contest(servers.standalone(vendor), uvloop=not arguments.asyncio)
        for name, part in PARTS.items():
            if not arguments.only or name in arguments.only:
                print(f"\n## {name}: {part.__doc__}\n", flush=True)
                targets += part(contest, scale)
    print("\n" + table(["ratio or time", "measured", "target", "met"], [target.row() for target in targets]))


if __name__ == "__main__":
    main()
