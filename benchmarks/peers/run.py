"""One process of a contestant: `python -m benchmarks.peers.run NAME work|put|call JSON`. It prints what it measured."""

import importlib
import json
import logging
import random
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Told
from benchmarks.peers.probe import Probe


class Stopwatch:
    """Takes the time of a block, on the wall and of this process."""

    def __init__(self) -> None:
        self.wall = self.cost = 0.0

    def __enter__(self) -> None:
        self.wall, self.cost = -time.perf_counter(), -time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cost += time.process_time()


def work(peer: Peer, told: Told, probe: str) -> None:
    hit = Probe(Path(probe)).hit
    print("ready", flush=True)
    sys.stdin.readline()
    peer.work(told, hit)


def put(peer: Peer, told: Told, way: str, jobs: int) -> None:
    watch = Stopwatch()
    peer.put(told, way, jobs, watch)
    print(json.dumps({"wall": watch.wall, "cost": watch.cost}), flush=True)


def call(peer: Peer, told: Told, samples: int) -> None:
    chance = random.Random(7)
    taken: list[float] = []
    peer.call(told, lambda: chance.uniform(0.002, 0.012), samples, lambda sent, there: taken.append(there - sent))
    print(json.dumps(taken), flush=True)


def main() -> None:
    logging.disable(logging.WARNING)
    _, name, verb, text = sys.argv
    order: dict[str, Any] = json.loads(text)
    told = Told(**order.pop("told"))
    peer: Peer = importlib.import_module(f"benchmarks.peers.{name}").peer
    {"work": work, "put": put, "call": call}[verb](peer, told, **order)


if __name__ == "__main__":
    main()
