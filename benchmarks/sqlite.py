"""The benchmarks of fifoq on SQLite: `python -m benchmarks.sqlite [--only NAME] [--quick]`."""

import argparse
import asyncio
import platform
import sqlite3
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from benchmarks import sqlite_depth, sqlite_processes, sqlite_rates


class Scale:
    """The extent of the measurements: that of the README, or a quick look."""

    def __init__(self, quick: bool) -> None:
        self.jobs = 500 if quick else 1_000
        self.batched = 2_000 if quick else 10_000
        self.rounds = 5 if quick else 11
        self.samples = 200 if quick else 1_000
        self.deepest = 100_000 if quick else 1_000_000
        self.seconds = 3.0 if quick else 10.0


PARTS: dict[str, tuple[str, Callable[[Scale], Awaitable[str]]]] = {
    "one": (
        "One awaited enqueue at a time",
        lambda scale: sqlite_rates.compare(sqlite_rates.ONE_BY_ONE, scale.jobs, scale.rounds),
    ),
    "flight": (
        "Enqueue with 100 in flight",
        lambda scale: sqlite_rates.compare(sqlite_rates.IN_FLIGHT, scale.batched, scale.rounds),
    ),
    "drain": (
        "Drain with one worker",
        lambda scale: sqlite_rates.compare(sqlite_rates.DRAIN, scale.batched, scale.rounds),
    ),
    "depth": (
        "Claim of one job with so many others waiting (target: 1.5 times the cost at 1,000)",
        lambda scale: sqlite_depth.depths(scale.samples, scale.deepest),
    ),
    "wake-up": (
        "Two processes: from the call of enqueue in one to the task's first line in the other (target: p50 5 ms)",
        lambda scale: sqlite_processes.wake_ups(scale.samples),
    ),
    "idle": (
        "A worker with nothing to do (target: 1 % of a core)",
        lambda scale: sqlite_processes.idle(scale.seconds),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="fewer jobs and rounds: a look, not a measurement")
    arguments = parser.parse_args()
    scale = Scale(arguments.quick)
    others = ", ".join(f"{name} {version(name)}" for name in ("huey", "persist-queue", "aiosqlite"))
    print(f"Python {platform.python_version()}, {platform.machine()}, SQLite {sqlite3.sqlite_version}, {others}")
    for name, (title, part) in PARTS.items():
        if not arguments.only or name in arguments.only:
            print(f"\n## {title}\n", flush=True)
            print(asyncio.run(_of(part, scale)), flush=True)


async def _of(part: Callable[[Scale], Awaitable[str]], scale: Scale) -> str:
    return await part(scale)


if __name__ == "__main__":
    main()
