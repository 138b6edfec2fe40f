"""
One process of a contestant on Redis. It prints its measurements.

    python -m benchmarks.contestants.on_redis.process NAME work|put|call JSON
"""

import importlib
import json
import logging
import random
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.contestants.on_redis.contestant import Contestant, Options
from benchmarks.contestants.on_redis.probe import Probe


class BlockTimer:
    """Measures a block: time of day, and processor time of this process."""

    def __init__(self) -> None:
        self.wall = self.cost = 0.0

    def __enter__(self) -> None:
        self.wall, self.cost = -time.perf_counter(), -time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cost += time.process_time()


def work(contestant: Contestant, options: Options, probe: str) -> None:
    started = Probe(Path(probe)).started
    print("ready", flush=True)
    sys.stdin.readline()
    contestant.work(options, started)


def put(contestant: Contestant, options: Options, way: str, jobs: int) -> None:
    timer = BlockTimer()
    contestant.put(options, way, jobs, timer)
    print(json.dumps({"wall": timer.wall, "cost": timer.cost}), flush=True)


def call(contestant: Contestant, options: Options, samples: int) -> None:
    chance = random.Random(7)
    seconds: list[float] = []
    contestant.call(
        options, lambda: chance.uniform(0.002, 0.012), samples, lambda sent, result: seconds.append(result - sent)
    )
    print(json.dumps(seconds), flush=True)


def main() -> None:
    logging.disable(logging.WARNING)
    _, name, verb, text = sys.argv
    arguments: dict[str, Any] = json.loads(text)
    options = Options(**arguments.pop("options"))
    contestant: Contestant = importlib.import_module(f"benchmarks.contestants.on_redis.{name}").contestant
    {"work": work, "put": put, "call": call}[verb](contestant, options, **arguments)


if __name__ == "__main__":
    main()
