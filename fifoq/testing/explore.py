"""
A long run of the kit: random operations on a backend beside the model, for as long as it is asked to.

    python -m fifoq.testing.explore sqlite:////tmp/fresh.db --seconds 3600
    python -m fifoq.testing.explore mybackend.testing:make_backend --runs 1000

The store is given by its URL, or by a function that takes a clock and returns a backend on the same store each time. It
must be fresh. Progress goes to standard error. Status 0: every reply was the model's; 1: one was not, and the run can
be repeated alone by its seed.
"""

import argparse
import asyncio
import importlib
import random
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from fifoq.testing.clock import ManualClock
from fifoq.testing.driver import MakeBackend
from fifoq.testing.operations import run
from fifoq.testing.pair import Pair

STEPS = 250
REPORT_EVERY = 10.0
"""Seconds between two lines of progress."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore as the command line says, and return the exit status."""
    options = _parser().parse_args(arguments)
    make_backend, clock = _make_backend(options.store), ManualClock()
    first = random.randrange(2**31) if options.seed is None else options.seed
    used = asyncio.run(_used_queue(make_backend(clock)))
    if used is not None:
        _say(f"The store has the queue {used!r} of an earlier run. Give a fresh one.")
        return 2
    _say(f"Exploring {options.store} from seed {first}, {options.steps} operations a run. Ctrl-C ends it.")
    began = reported = time.monotonic()
    done = 0
    try:
        while (options.runs is None or done < options.runs) and time.monotonic() - began < options.seconds:
            if not _is_right(make_backend, clock, first + done, options):
                return 1
            done += 1
            if time.monotonic() - reported >= REPORT_EVERY:
                reported = time.monotonic()
                _say(f"{done} runs in {reported - began:.0f} s, no difference; now at seed {first + done}.")
    except KeyboardInterrupt:
        _say("Interrupted.")
    _say(f"{done} runs from seed {first} in {time.monotonic() - began:.0f} s: every reply was the model's.")
    return 0


def _is_right(make_backend: MakeBackend, clock: ManualClock, seed: int, options: argparse.Namespace) -> bool:
    pair = Pair(make_backend, clock)
    try:
        run(pair, seed, options.steps)
    except Exception:
        traceback.print_exc()
        again = f"{options.store} --seed {seed} --runs 1 --steps {options.steps}"
        _say(f"The run of seed {seed} differs from the model. To repeat it, on a fresh store:")
        _say(f"    python -m fifoq.testing.explore {again}")
        return False
    finally:
        pair.close()
    return True


def _make_backend(store: str) -> MakeBackend:
    scheme, separator, _ = store.partition("://")
    if separator:
        entry = next(iter(entry_points(group="fifoq.backends", name=scheme)), None)
        if entry is None:
            raise SystemExit(f"explore: there is no backend for {scheme}:// here.")
        factory: Any = entry.load()
        return lambda clock: factory(store, clock=clock)
    module, _, name = store.partition(":")
    made: MakeBackend = getattr(importlib.import_module(module), name)
    return made


async def _used_queue(backend: Any) -> str | None:
    await backend.open()
    try:
        return next((name for name in await backend.queues() if name.startswith("pair-")), None)
    finally:
        await backend.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m fifoq.testing.explore", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("store", help="a URL (memory://NAME, sqlite:////fresh.db, …), or module:function")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long; default: never")
    parser.add_argument("--runs", type=int, help="end after so many runs; default: never")
    parser.add_argument("--seed", type=int, help="the seed of the first run; each following run has the next one")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"operations in a run; default: {STEPS}")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
