"""The public API under strict type checkers: right calls keep exact types, wrong ones are refused where they stand."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

from tests.test_docs import PAGES, is_awaiting, programs

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


def test_mypy_accepts_right_calls_and_refuses_wrong_ones_and_the_examples(tmp_path: Path) -> None:
    # Together, because reading the libraries is what takes time.
    paths = (str(API), str(ROOT / "examples"))
    output = run(
        sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", "--cache-dir", str(tmp_path), *paths
    )
    refused = {int(line) for line in re.findall(r"api\.py:(\d+): error", output)}
    assert refused - undecided("mypy") == expected("mypy")
    assert not [line for line in output.splitlines() if ": error" in line and "api.py" not in line]
    assert re.search(r"checked \d+ source files", output)


def test_both_type_checkers_accept_the_programs_of_the_documents(tmp_path: Path) -> None:
    """But for the lines of which the page itself says that a type checker refuses them."""
    files = [path for page in [*PAGES, ROOT / "README.md"] for path in [write_page(page, tmp_path)]]
    refused = {
        (path.name, number)
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "type checker refuses" in line
    }
    assert refused
    settings = {"include": ["*.py"], "typeCheckingMode": "standard", "reportRedeclaration": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    options = ("--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path))
    report = json.loads(run(sys.executable, "-m", "pyright", *options))
    assert report["summary"]["filesAnalyzed"] == len(files)
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1): each for each in report["generalDiagnostics"]
    }
    assert found.keys() == refused, found
    options = ("--check-untyped-defs", "--disable-error-code", "no-redef", "--cache-dir", str(tmp_path / "cache"))
    output = run(sys.executable, "-m", "mypy", *options, *map(str, files))
    assert {(Path(name).name, int(line)) for name, line in re.findall(r"(\S+\.py):(\d+): error", output)} == refused, (
        output
    )


def write_page(page: Path, folder: Path) -> Path:
    """Write the programs of a page as one module: of each, what follows its first `await` is a function."""
    lines: list[str] = []
    for number, program in enumerate(programs(page)):
        code = program.code.splitlines()
        awaits = [part for part in ast.parse(program.code).body if is_awaiting(part)]
        first = awaits[0].lineno - 1 if awaits else len(code)
        lines += code[:first]
        if awaits:
            lines += [f"async def program_{number}() -> None:", *(f"    {line}" for line in code[first:])]
    path = folder / f"{page.stem.lower().replace('-', '_')}_page.py"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_public_names_are_sorted_and_exist() -> None:
    import fifoq

    assert sorted(fifoq.__all__) == fifoq.__all__
    assert all(hasattr(fifoq, name) for name in fifoq.__all__)
