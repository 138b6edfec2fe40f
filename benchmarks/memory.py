"""The benchmarks of fifoq on memory: `python -m benchmarks.memory [--only NAME] [--quick]`."""

import argparse
import asyncio
import platform
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from benchmarks import end_to_end, memory_backend, wake_up


class Scale:
    """The extent of the measurements: that of the README, or a quick look."""

    def __init__(self, quick: bool) -> None:
        self.jobs = 5_000 if quick else 20_000
        self.rounds = 3 if quick else 7
        self.samples = 500 if quick else 2_000
        self.deepest = 100_000 if quick else 1_000_000


PARTS: dict[str, tuple[str, Callable[[Scale], Awaitable[str]]]] = {
    "end-to-end": (
        "No-op jobs, enqueued and run (target: 2.5 times taskiq, aim 4)",
        lambda scale: end_to_end.compare(scale.jobs, scale.rounds),
    ),
    "wake-up": (
        "Wake-up of an idle worker, until the task's first line (target: 50 µs)",
        lambda scale: wake_up.wake_ups(scale.samples),
    ),
    "depth": (
        "Claim and settle of the backend, by the number of waiting jobs (target: ratio 1.5)",
        lambda scale: memory_backend.depths(scale.samples, scale.deepest),
    ),
    "cost": (
        "Each verb of the backend, per job",
        lambda scale: memory_backend.costs(scale.jobs, scale.rounds),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="fewer jobs and rounds: a look, not a measurement")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop, which must be installed")
    arguments = parser.parse_args()
    scale = Scale(arguments.quick)
    loop_factory = None
    if arguments.uvloop:
        import uvloop

        loop_factory = uvloop.new_event_loop
    loop = "uvloop" if arguments.uvloop else "asyncio"
    print(f"Python {platform.python_version()}, {platform.machine()}, {loop}, taskiq {version('taskiq')}")
    for name, (title, part) in PARTS.items():
        if not arguments.only or name in arguments.only:
            print(f"\n## {title}\n", flush=True)
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                print(runner.run(_of(part, scale)), flush=True)


async def _of(part: Callable[[Scale], Awaitable[str]], scale: Scale) -> str:
    return await part(scale)


if __name__ == "__main__":
    main()
