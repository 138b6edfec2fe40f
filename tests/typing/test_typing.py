"""The public API under strict type checkers: right calls keep exact types, wrong ones are refused where they stand."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).parent / "api.py"
ROOT = Path(__file__).parents[2]


def expected(checker: str) -> set[int]:
    """The lines of api.py that `checker` must refuse."""
    return {
        number
        for number, line in enumerate(API.read_text().splitlines(), 1)
        if "  # error" in line and f"not {checker}" not in line
    }


def undecided(checker: str) -> set[int]:
    return {number for number, line in enumerate(API.read_text().splitlines(), 1) if f"not {checker}" in line}


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300).stdout


def test_pyright_accepts_right_calls_and_refuses_wrong_ones() -> None:
    # A file given by name would be checked with the project's settings, which leave tests out.
    options = ("--outputjson", "--pythonpath", sys.executable, "-p", str(API.parent))
    report = json.loads(run(sys.executable, "-m", "pyright", *options))
    assert report["summary"]["filesAnalyzed"] == 1
    refused = {finding["range"]["start"]["line"] + 1 for finding in report["generalDiagnostics"]}
    assert refused == expected("pyright")


def test_mypy_accepts_right_calls_and_refuses_wrong_ones(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    output = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(API))
    refused = {int(line) for line in re.findall(r"api\.py:(\d+): error", output)}
    assert refused - undecided("mypy") == expected("mypy")


def test_the_public_names_are_sorted_and_exist() -> None:
    import fifoq

    assert sorted(fifoq.__all__) == fifoq.__all__
    assert all(hasattr(fifoq, name) for name in fifoq.__all__)
