"""
All checks that a change must pass before it is merged. `./check` runs this in an environment made for it.

Each step is one command of one tool, so that a failed step can be repeated alone. The first failed step ends the run.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import oldest

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = "tests/test_packaging.py"
ON_ALL_CORES = ("--numprocesses=auto", "--dist=worksteal")
"""Many tests wait for processes and servers of their own, so even two cores need half the time."""


class Step(NamedTuple):
    """One check: its name and its command."""

    name: str
    command: list[str]

    def __str__(self) -> str:
        """The command, as typed at the root."""
        return shlex.join(part.removeprefix(f"{ROOT}/") for part in self.command)


class Failed(Exception):
    """A step failed."""

    def __init__(self, step: Step, status: int) -> None:
        super().__init__(f"{step.name} FAILED with status {status}. To repeat it alone: {step}")
        self.status = status


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def pytest(*arguments: str) -> list[str]:
    return python("-m", "pytest", *arguments)


def quick_steps() -> Iterator[Step]:
    yield Step("format", python("-m", "ruff", "format", "--check", "."))
    yield Step("lint", python("-m", "ruff", "check", "."))
    yield Step("types", python("-m", "pyright", "--pythonpath", sys.executable))
    yield Step("layers", [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"])


def long_steps() -> Iterator[Step]:
    yield Step("wheel", pytest(PACKAGING))
    yield Step("tests", pytest(f"--ignore={PACKAGING}", *ON_ALL_CORES, "--maxfail=10"))


def steps_of_other_pythons() -> Iterator[Step]:
    """Make an environment for each other CPython of this machine, and run the tests in it."""
    found = subprocess.run(["sh", "tools/pythons.sh"], cwd=ROOT, capture_output=True, text=True, check=True)
    mine = ".".join(platform.python_version_tuple()[:2])
    for version, interpreter in (line.split(" ", 1) for line in found.stdout.splitlines()):
        if version != mine:
            folder = ROOT / ".check" / version
            yield Step(
                f"environment {version}", ["sh", "tools/environment.sh", "check", str(folder), "dev", interpreter]
            )
            yield Step(
                f"tests {version}", [str(folder / "bin" / "python"), "-m", "pytest", *ON_ALL_CORES, "--maxfail=10"]
            )


def steps_of_the_oldest_versions() -> Iterator[Step]:
    """Make an environment with the lowest versions of the libraries, and run the tests that call them most."""
    yield Step("environment of the lowest versions", python("tools/oldest.py"))
    yield Step(
        "tests with the lowest versions",
        [str(oldest.FOLDER / "bin" / "python"), "-m", "pytest", *oldest.TESTS, f"--deselect={oldest.LEFT_OUT}"],
    )


def environment() -> dict[str, str]:
    """This environment without settings of fifoq and pytest, as those of a user's shell must not change a result."""
    foreign = ("FIFOQ_", "PYTEST_ADDOPTS")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) or name.startswith("FIFOQ_TEST_")
    }


def run(step: Step) -> float:
    """Run one step, with its output on this terminal, and return the seconds that it took. Raises Failed."""
    print(f"\n=== {step.name}: {step}", flush=True)
    start = time.monotonic()
    status = subprocess.run(step.command, cwd=ROOT, env=environment()).returncode
    if status:
        raise Failed(step, status)
    return time.monotonic() - start


def choose_steps(fast: bool, pythons: bool, oldest_too: bool) -> Iterator[Step]:
    yield from quick_steps()
    if not fast:
        yield from long_steps()
    if pythons:
        yield from steps_of_other_pythons()
    if oldest_too:
        yield from steps_of_the_oldest_versions()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./check", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="without the wheel and the tests")
    parser.add_argument("--pythons", action="store_true", help="the tests on every other CPython from 3.11 on, too")
    parser.add_argument("--oldest", action="store_true", help="tests with the lowest versions of the libraries, too")
    options = parser.parse_args()
    seconds: dict[str, float] = {}
    try:
        for step in choose_steps(options.fast, options.pythons, options.oldest):
            seconds[step.name] = run(step)
    except Failed as failure:
        print(f"\ncheck: {failure}", flush=True)
        return 1
    except KeyboardInterrupt:
        print("\ncheck: interrupted", flush=True)
        return 130
    print()
    for name, taken in seconds.items():
        print(f"check: {name:<18} {taken:7.1f} s")
    print(
        f"check: all good on CPython {platform.python_version()}: {len(seconds)} steps in {sum(seconds.values()):.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
