"""Imports point downwards only: import-linter enforces the layers of pyproject.toml, and finds planted violations."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
SOURCES = ["", "backends", "adapters"]


def lint(root: Path) -> tuple[int, str]:
    """Run import-linter on the tree at `root`; return its exit status and its output."""
    path = os.pathsep.join(str(root / folder) for folder in SOURCES)
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=root, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree, for a planted violation."""
    without = shutil.ignore_patterns("__pycache__")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ["fifoq", "backends", "adapters"]:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=without)
    return tmp_path


def layers() -> list[set[str]]:
    [contract] = [one for one in LINTER["contracts"] if one["type"] == "layers"]
    return [set(line.replace("|", ":").replace(" ", "").split(":")) for line in contract["layers"]]


def test_every_import_keeps_to_the_layers() -> None:
    status, output = lint(ROOT)
    assert status == 0, output


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("fifoq/retry.py", "fifoq.queue"),
        ("fifoq/queue.py", "fifoq.task"),
        ("fifoq/task/definition.py", "fifoq.worker.worker"),
        ("fifoq/worker/runners.py", "fifoq"),
        ("fifoq/app.py", "fifoq.cli.commands"),
        ("fifoq/app.py", "fifoq_memory"),
        ("fifoq/app.py", "fifoq_fastapi"),
        ("fifoq/worker/runners.py", "fifoq.testing"),
        ("fifoq/testing/clock.py", "fifoq.worker.runners"),
        ("backends/fifoq_memory/queue.py", "fifoq.retry"),
        ("backends/fifoq_memory/queue.py", "fifoq.worker.outcomes"),
        ("backends/fifoq_memory/queue.py", "fifoq.task"),
        ("adapters/fifoq_fastapi/routing.py", "fifoq_memory"),
        ("adapters/fifoq_fastapi/routing.py", "fifoq.cli.commands"),
    ],
)
def test_an_import_that_points_upwards_is_found(copy: Path, module: str, imported: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\nimport {imported}\n")
    status, output = lint(copy)
    assert status == 1, output
    assert "BROKEN" in output
    assert imported in output


def test_every_module_of_the_core_has_a_layer() -> None:
    placed = set[str]().union(*layers())
    modules = {f"fifoq.{path.stem}" for path in (ROOT / "fifoq").iterdir() if is_module(path)}
    assert modules <= placed, f"without a layer in pyproject.toml: {sorted(modules - placed)}"


def test_every_package_is_checked() -> None:
    packages = {path.name for folder in ["backends", "adapters"] for path in (ROOT / folder).iterdir()}
    packages -= {"__pycache__"}
    assert packages | {"fifoq"} == set(LINTER["root_packages"])
    assert packages <= set[str]().union(*layers())


def is_module(path: Path) -> bool:
    return (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
