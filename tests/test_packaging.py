"""The distribution holds what it should, and works where nothing else is installed."""

import json
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {
    "fifoq": ROOT / "fifoq",
    "fifoq_fastapi": ROOT / "adapters" / "fifoq_fastapi",
    "fifoq_memory": ROOT / "backends" / "fifoq_memory",
    "fifoq_redis": ROOT / "backends" / "fifoq_redis",
    "fifoq_sqlite": ROOT / "backends" / "fifoq_sqlite",
}
"""All top-level names that the wheel claims, of those that everybody shares, and where their sources are."""
REDIS = ("redis", "rediss", "unix", "redis+cluster", "redis+sentinel")

RUN_A_JOB = """
import asyncio, json
from importlib.metadata import entry_points, version
import fifoq, fifoq.testing, fifoq_memory

tasks = fifoq.Fifoq("memory://")

@tasks.task(key="match")
async def save(match: str, tick: int) -> list[object]:
    return [match, tick]

async def call() -> object:
    async with tasks, tasks.worker():
        return await save.call("m1", 7)

print(json.dumps({
    "result": asyncio.run(call()),
    "version": version("fifoq"),
    "backends": sorted(point.name for point in entry_points(group="fifoq.backends")),
    "from": [fifoq.__file__, fifoq_memory.__file__],
}))
"""
CONNECT_SQLITE = """
from fifoq.connect import connect
from fifoq.errors import ConfigurationError

try:
    print(connect("sqlite:///jobs.db"))
except ConfigurationError as error:
    print(error)
"""
IMPORT_ALL = """
import importlib, pkgutil, sys

for package in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name not in ("pytest", "hypothesis"):  # the kit is for those who test
                    raise
                continue
        print(module.name)
"""


class Archives(NamedTuple):
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """The sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Archives(sdist, wheel)


@pytest.fixture
def in_wheel(archives: Archives) -> list[PurePosixPath]:
    with zipfile.ZipFile(archives.wheel) as wheel:
        return [PurePosixPath(name) for name in wheel.namelist()]


@pytest.fixture
def in_sdist(archives: Archives) -> Iterator[dict[PurePosixPath, tarfile.TarInfo]]:
    with tarfile.open(archives.sdist) as sdist:
        yield {PurePosixPath(*PurePosixPath(member.name).parts[1:]): member for member in sdist}


def test_the_wheel_claims_these_top_level_names_and_no_others(in_wheel: list[PurePosixPath]) -> None:
    claimed = {path.parts[0] for path in in_wheel}
    assert claimed == {*PACKAGES, f"fifoq-{PROJECT['version']}.dist-info"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel_and_nothing_else(in_wheel: list[PurePosixPath], package: str) -> None:
    source = PACKAGES[package]
    kept = {path.relative_to(source.parent) for path in source.rglob("*") if path.is_file()}
    expected = {path.as_posix() for path in kept if "__pycache__" not in path.parts}
    assert {str(path) for path in in_wheel if path.parts[0] == package} == expected
    assert f"{package}/py.typed" in expected


def test_the_sdist_brings_what_one_needs_to_check_it(in_sdist: dict[PurePosixPath, tarfile.TarInfo]) -> None:
    for name in ["README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "tests/test_packaging.py"]:
        assert PurePosixPath(name) in in_sdist
    for name in ["check", "demo", "tools/check.py", "examples/scoreboard.py", "docs/guarantees.md"]:
        assert PurePosixPath(name) in in_sdist
    assert in_sdist[PurePosixPath("check")].mode & 0o111
    assert in_sdist[PurePosixPath("demo")].mode & 0o111


def test_the_sdist_brings_no_caches(in_sdist: dict[PurePosixPath, tarfile.TarInfo]) -> None:
    hidden = {path.parts[0] for path in in_sdist if path.parts[0].startswith(".")}
    assert hidden <= {".ci", ".gitignore"}
    assert not [path for path in in_sdist if "__pycache__" in path.parts or path.suffix in (".pyc", ".db")]


def test_entry_points_name_what_is_there(archives: Archives) -> None:
    points = ConfigParser()
    with zipfile.ZipFile(archives.wheel) as wheel:
        points.read_string(wheel.read(f"fifoq-{PROJECT['version']}.dist-info/entry_points.txt").decode())
    assert dict(points["fifoq.backends"]) == {
        "memory": "fifoq_memory:MemoryBackend",
        "sqlite": "fifoq_sqlite:SqliteBackend",
        **dict.fromkeys(REDIS, "fifoq_redis:RedisBackend"),
    }
    assert dict(points["console_scripts"]) == {"fifoq": "fifoq.cli:main"}


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_wheel_works_in_an_empty_environment(archives: Archives, tmp_path: Path) -> None:
    python = empty_environment(tmp_path / "environment")
    install(python, f"{archives.wheel}")
    told = json.loads(run(python, "-I", "-c", RUN_A_JOB, cwd=tmp_path))
    assert told["result"] == ["m1", 7]
    assert told["version"] == PROJECT["version"]
    assert told["backends"] == sorted(["memory", "sqlite", *REDIS])
    assert all(Path(file).is_relative_to(tmp_path) for file in told["from"])

    refused = subprocess.run([python.with_name("fifoq"), "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0
    assert 'pip install "fifoq[cli]"' in refused.stderr

    without = subprocess.run([python, "-I", "-c", CONNECT_SQLITE], cwd=tmp_path, capture_output=True, text=True)
    assert without.stdout.strip().endswith('Run: pip install "fifoq[sqlite]"'), without

    install(python, f"{archives.wheel}[cli,fastapi,redis,sqlite]")
    assert "SqliteBackend" in run(python, "-I", "-c", CONNECT_SQLITE, cwd=tmp_path)
    imported = run(python, "-I", "-c", IMPORT_ALL, *PACKAGES, cwd=tmp_path).split()
    assert {"fifoq.worker.worker", "fifoq.cli.demo.command", "fifoq_fastapi.router"} <= set(imported)
    assert PROJECT["version"] in run(python.with_name("fifoq"), "--version", cwd=tmp_path)


def empty_environment(folder: Path) -> Path:
    """Make a virtual environment with nothing in it, not even pip; return its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def install(python: Path, requirement: str) -> None:
    """Install from outside, with what made this environment: uv, or pip."""
    made_by_uv = "\nuv = " in (Path(sys.prefix) / "pyvenv.cfg").read_text()
    uv, pip = ["uv", "pip", "install", "--python", python], [sys.executable, "-m", "pip", "--python", python, "install"]
    run(*(uv if made_by_uv else pip), "--quiet", "-c", ROOT / "constraints.txt", requirement, cwd=ROOT)


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
