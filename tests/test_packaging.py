"""The distribution holds what it should, and works where nothing else is installed."""

import json
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ["fifoq", "fifoq_fastapi", "fifoq_memory"]
"""All top-level names that the wheel claims, of the names that everybody shares."""

PROGRAM = '''
import asyncio, importlib, json, pkgutil, sys
from importlib.metadata import entry_points, version

import fifoq
from fifoq import Fifoq

tasks = Fifoq("memory://")

@tasks.task(key="match")
async def save(match: str, tick: int) -> list[object]:
    return [match, tick]

async def main():
    async with tasks, tasks.worker():
        return await save.call("m1", 7)

without_pytest = ["fifoq.testing.contract", "fifoq.testing.machine", "fifoq.testing.pair", "fifoq.cli."]
modules = [
    module.name
    for name in ["fifoq", "fifoq_memory", "fifoq_fastapi"]
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}.", onerror=lambda _: None)
]
print(json.dumps({
    "result": asyncio.run(main()),
    "version": version("fifoq"),
    "backends": [point.name for point in entry_points(group="fifoq.backends")],
    "file": fifoq.__file__,
}))
'''


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
