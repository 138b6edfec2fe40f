"""The benchmarks start, by module name and as files, although some have the name of the library that they measure."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", [["-m", "benchmarks.redis"], ["benchmarks/redis.py"]], ids=["module", "file"])
def test_the_benchmark_of_redis_does_not_hide_the_library(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--vendor" in done.stdout
