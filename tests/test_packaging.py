"""The distribution holds the files that it should, and works in an environment that holds nothing else."""

import ast
import json
import os
import re
import runpy
import socket
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from fifoq.extras import install_line

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {
    "fifoq": ROOT / "fifoq",
    "fifoq_fastapi": ROOT / "adapters" / "fifoq_fastapi",
    "fifoq_memory": ROOT / "backends" / "fifoq_memory",
    "fifoq_redis": ROOT / "backends" / "fifoq_redis",
    "fifoq_sqlite": ROOT / "backends" / "fifoq_sqlite",
}
"""The folder of each top-level package that the wheel installs."""
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
from fifoq.backends import connect
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
                if error.name not in ("pytest", "hypothesis"):  # the test kit needs them
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


@pytest.fixture(scope="module")
def bare(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment outside the checkout that holds the wheel, without extras."""
    python = empty_environment(tmp_path_factory.mktemp("bare"))
    install(python, f"{archives.wheel}")
    return python


@pytest.fixture(scope="module")
def complete(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment outside the checkout that holds the wheel with all extras for users."""
    python = empty_environment(tmp_path_factory.mktemp("complete"))
    install(python, f"{archives.wheel}[all]")
    return python


@pytest.fixture
def in_wheel(archives: Archives) -> list[PurePosixPath]:
    with zipfile.ZipFile(archives.wheel) as wheel:
        return [PurePosixPath(name) for name in wheel.namelist()]


@pytest.fixture
def in_sdist(archives: Archives) -> Iterator[dict[PurePosixPath, tarfile.TarInfo]]:
    with tarfile.open(archives.sdist) as sdist:
        yield {PurePosixPath(*PurePosixPath(member.name).parts[1:]): member for member in sdist}


def test_the_wheel_installs_these_top_level_names_and_no_others(in_wheel: list[PurePosixPath]) -> None:
    installed = {path.parts[0] for path in in_wheel}
    assert installed == {*PACKAGES, f"fifoq-{PROJECT['version']}.dist-info"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel_and_nothing_else(in_wheel: list[PurePosixPath], package: str) -> None:
    source = PACKAGES[package]
    kept = {path.relative_to(source.parent) for path in source.rglob("*") if path.is_file()}
    expected = {path.as_posix() for path in kept if "__pycache__" not in path.parts}
    assert {str(path) for path in in_wheel if path.parts[0] == package} == expected
    assert f"{package}/py.typed" in expected


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_that_code_opens_by_importlib_resources_is_in_the_wheel(
    in_wheel: list[PurePosixPath], package: str
) -> None:
    for opened in resources(PACKAGES[package]):
        found = {path for path in in_wheel if path.is_relative_to(opened)}
        assert found, f"{opened} is not in the wheel"
        folder = PACKAGES[package].parent / opened
        kept = [path for path in [folder, *folder.rglob("*")] if path.is_file() and "__pycache__" not in path.parts]
        assert found == {PurePosixPath(path.relative_to(PACKAGES[package].parent)) for path in kept}


def test_the_search_for_resources_finds_those_of_the_demo_and_the_backends() -> None:
    found = {package: [path.parts[0] for path in resources(source)] for package, source in PACKAGES.items()}
    assert {package for package, paths in found.items() if paths} == {"fifoq", "fifoq_redis", "fifoq_sqlite"}


def test_the_sdist_brings_everything_that_a_check_needs(in_sdist: dict[PurePosixPath, tarfile.TarInfo]) -> None:
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


def test_the_entry_points_are_the_backends_and_the_command(archives: Archives) -> None:
    points = ConfigParser()
    with zipfile.ZipFile(archives.wheel) as wheel:
        points.read_string(wheel.read(f"fifoq-{PROJECT['version']}.dist-info/entry_points.txt").decode())
    assert dict(points["fifoq.backends"]) == {
        "memory": "fifoq_memory:MemoryBackend",
        "sqlite": "fifoq_sqlite:SqliteBackend",
        **dict.fromkeys(REDIS, "fifoq_redis:RedisBackend"),
    }
    assert dict(points["console_scripts"]) == {"fifoq": "fifoq.cli:main"}


def test_the_changelog_has_this_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_wheel_runs_jobs_in_an_environment_without_extras(bare: Path, tmp_path: Path) -> None:
    report = json.loads(run(bare, "-I", "-c", RUN_A_JOB, cwd=tmp_path))
    assert report["result"] == ["m1", 7]
    assert report["version"] == PROJECT["version"]
    assert report["backends"] == sorted(["memory", "sqlite", *REDIS])
    assert all(Path(file).is_relative_to(bare.parents[1]) for file in report["from"])


def test_a_command_that_lacks_its_extra_names_it(bare: Path, tmp_path: Path) -> None:
    refused = subprocess.run([bare.with_name("fifoq"), "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0
    assert re.search(r'pip install .*"typer>=', refused.stderr)


def test_a_backend_that_lacks_its_extra_names_it(bare: Path, tmp_path: Path) -> None:
    printed = run(bare, "-I", "-c", CONNECT_SQLITE, cwd=tmp_path)
    assert re.search(r'Run: pip install "aiosqlite[^"]+"$', printed.strip())


def test_every_module_of_the_wheel_can_be_imported_where_its_extras_are(complete: Path, tmp_path: Path) -> None:
    assert "SqliteBackend" in run(complete, "-I", "-c", CONNECT_SQLITE, cwd=tmp_path)
    imported = run(complete, "-I", "-c", IMPORT_ALL, *PACKAGES, cwd=tmp_path).split()
    assert {"fifoq.worker.worker", "fifoq.cli.demo.command", "fifoq_fastapi.routing"} <= set(imported)
    assert PROJECT["version"] in run(complete.with_name("fifoq"), "--version", cwd=tmp_path)


def test_the_demo_of_the_wheel_runs_in_an_empty_folder(complete: Path, tmp_path: Path) -> None:
    printed = run(complete.with_name("fifoq"), "demo", "--games", "12", cwd=tmp_path)
    assert "12 of 12" in printed
    assert list(tmp_path.iterdir()) == []


def test_every_install_command_names_packages_that_exist() -> None:
    """fifoq itself is on no index, so a text or an error that names it there would install a stranger's package."""
    extras = PROJECT["optional-dependencies"]
    requirements = [*PROJECT["dependencies"], *chain.from_iterable(extras.values())]
    known = {name_of(each) for each in requirements} - {"fifoq"}
    code = (path for each in PACKAGES.values() for path in each.rglob("*.py"))
    found = 0
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *code]:
        for line in re.findall(r"pip install (.*)", path.read_text("utf-8")):
            for word in re.findall(r"""(?:^|\s)["']([^"'{}]+)["']""", line.partition("#")[0]):
                own = re.fullmatch(r"\.\[([\w,]+)\]", word)
                assert set(own[1].split(",")) <= extras.keys() if own else name_of(word) in known, (path, word)
                found += 1
    assert found > 5


@pytest.mark.parametrize("extra", ["sqlite", "redis", "fastapi", "cli", "all"])
def test_an_error_names_all_packages_of_an_extra(extra: str) -> None:
    def names(extra: str) -> set[str]:
        listed = PROJECT["optional-dependencies"][extra]
        own = [each[len("fifoq[") : -1].split(",") for each in listed if each.startswith("fifoq[")]
        return {name_of(each) for each in listed if not each.startswith("fifoq[")}.union(
            *map(names, chain.from_iterable(own))
        )

    assert {name_of(each) for each in re.findall(r'"([^"]+)"', install_line(extra))} == names(extra)


def test_the_first_lines_of_the_readme_run_with_what_it_says_to_install(archives: Archives, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    [first, *_] = re.findall(r'pip install "\.\[([\w,]+)\]"', readme)
    [example, *_] = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    python = empty_environment(tmp_path / "environment")
    install(python, f"{archives.wheel}[{first}]")
    (tmp_path / "app.py").write_text(example)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {**os.environ, "FIFOQ_URL": "sqlite:///jobs.db"}
    command = [python.with_name("uvicorn"), "app:app", "--port", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        said = ""
        while "running on" not in said:
            said = server.stderr.readline()
            assert said, "the server did not start"
        request = urllib.request.Request(f"http://127.0.0.1:{port}/matches/m1?goals=1", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 202
            assert json.load(answer)["job"]
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_each_requirement_has_a_lowest_version_that_the_check_of_the_oldest_pins() -> None:
    oldest = runpy.run_path(str(ROOT / "tools" / "oldest.py"))
    pins = dict(each.split("==") for each in oldest["lowest"](PROJECT))
    users = [
        *PROJECT["dependencies"],
        *(each for extra in oldest["EXTRAS"] for each in PROJECT["optional-dependencies"][extra]),
    ]
    assert pins.keys() == {name_of(each) for each in users} - {"fifoq"}
    assert all(f">={pins[name_of(each)]}" in each for each in users if name_of(each) != "fifoq")
    assert set(oldest["EXTRAS"]) == PROJECT["optional-dependencies"].keys() - {"all", "dev", "bench"}
    assert all((ROOT / test).exists() for test in oldest["TESTS"])
    with pytest.raises(SystemExit, match="no lowest version of typer"):
        list(
            oldest["lowest"](
                {"dependencies": ["typer"], "optional-dependencies": {each: [] for each in oldest["EXTRAS"]}}
            )
        )


def name_of(requirement: str) -> str:
    """The name of a package in a requirement."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None, requirement
    return found[0].lower().replace("_", "-")


def resources(source: Path) -> Iterator[PurePosixPath]:
    """The files and folders that modules below `source` open by `importlib.resources.files`, as paths in the wheel."""
    for module in sorted(source.rglob("*.py")):
        code = module.read_text("utf-8")
        if re.search(r"\bimportlib(\.| import )resources\b", code):
            found = set(resource_paths(ast.parse(code)))
            assert found, f"{module} uses importlib.resources in a way that this test does not read"
            yield from (path for path in found if not any(path in other.parents for other in found))


def resource_paths(tree: ast.Module) -> Iterator[PurePosixPath]:
    """The paths that a module makes of `files("package")`, by `joinpath` or `/`, from texts and constants."""
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }

    def text(node: ast.AST) -> str:
        found = constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)
        assert isinstance(found, str)
        return found

    def path(node: ast.AST) -> PurePosixPath | None:
        match node:
            case ast.Call(ast.Name("files"), [package]):
                return PurePosixPath(*text(package).split("."))
            case ast.Call(ast.Attribute(base, "joinpath"), parts):
                root = path(base)
            case ast.BinOp(base, ast.Div(), part):
                root, parts = path(base), [part]
            case _:
                return None
        return None if root is None else root.joinpath(*map(text, parts))

    yield from (found for node in ast.walk(tree) if (found := path(node)) is not None)


def empty_environment(folder: Path) -> Path:
    """Make a virtual environment with nothing in it, not even pip; return its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def install(python: Path, requirement: str) -> None:
    """Install from outside, with the tool that made this environment: uv or pip."""
    made_by_uv = "\nuv = " in (Path(sys.prefix) / "pyvenv.cfg").read_text()
    uv, pip = ["uv", "pip", "install", "--python", python], [sys.executable, "-m", "pip", "--python", python, "install"]
    run(*(uv if made_by_uv else pip), "--quiet", "-c", ROOT / "constraints.txt", requirement, cwd=ROOT)


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
