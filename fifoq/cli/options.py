"""
Options of a command: a flag counts more than the environment, which counts more than a file, which counts more than
the default.

The file is `fifoq.toml`, or the table `[tool.fifoq]` of a `pyproject.toml`: the nearest one, from the working directory
upwards.
"""

import os
import tomllib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fifoq.errors import ConfigurationError

VARIABLES = {
    "app": "FIFOQ_APP",
    "url": "FIFOQ_URL",
    "queues": "FIFOQ_QUEUES",
    "concurrency": "FIFOQ_CONCURRENCY",
    "threads": "FIFOQ_THREADS",
    "grace": "FIFOQ_SHUTDOWN_GRACE",
    "processes": "FIFOQ_PROCESSES",
    "log": "FIFOQ_LOG",
    "health": "FIFOQ_HEALTH",
}
"""The keys of the file, each with the environment variable that counts more."""
STOP, HURRY = b"s", b"h"
"""The orders of a supervisor to a worker process: stop, and end the grace."""
FORMS = ("text", "json")
"""The forms of a log."""


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """The options of `fifoq worker`. None: not given on the command line; the Fifoq of the app reads the others."""

    app: str
    """module[:attr], where the Fifoq is."""
    app_dir: str = "."
    url: str | None = None
    queues: list[str] | None = None
    concurrency: int | None = None
    threads: int | None = None
    grace: float | None = None
    processes: int = 1
    burst: bool = False
    reload: bool = False
    give_up: int = 5
    log: str | None = None
    health: str | None = None
    health_file: str | None = None
    quiet: bool = False
    debug: bool = False
    banner: bool = True
    """Whether to show the banner: of several worker processes, one does."""

    @property
    def supervised(self) -> bool:
        """Whether worker processes do the work, and this one only watches them."""
        return self.processes > 1 or self.reload


def worker_options(flags: Mapping[str, Any], environment: MutableMapping[str, str] = os.environ) -> WorkerOptions:
    """
    Return the options of `fifoq worker`. Values of the file become environment variables, unless those are set.

    So they hold for the Fifoq of the app, too, and for all processes that this one starts. Raises ConfigurationError.
    """
    for name, text in read_file(Path.cwd()).items():
        if not environment.get(VARIABLES[name]):
            environment[VARIABLES[name]] = text
    given = {name: value for name, value in flags.items() if value is not None}
    app = given.pop("app", None) or environment.get("FIFOQ_APP")
    if not app:
        raise ConfigurationError(
            "No app is given. Name the module that has the Fifoq: fifoq worker shop, or fifoq worker shop:tasks; or "
            "set FIFOQ_APP, or `app` in [tool.fifoq] of pyproject.toml."
        )
    processes = given.pop("processes", None) or _processes(environment.get("FIFOQ_PROCESSES"))
    log = given.pop("log", None) or environment.get("FIFOQ_LOG") or None
    if log not in (*FORMS, None):
        raise ConfigurationError(f"The form of a log is text or json, not {log!r}. Set --log, or FIFOQ_LOG.")
    health = given.pop("health", None) or environment.get("FIFOQ_HEALTH") or None
    return WorkerOptions(app=app, processes=processes, log=log, health=health, **given)


def read_file(folder: Path) -> dict[str, str]:
    """Return the settings of the nearest file, as texts for the environment. Raises ConfigurationError."""
    for each in (folder, *folder.parents):
        own, project = each / "fifoq.toml", each / "pyproject.toml"
        if own.is_file():
            return _checked(_parsed(own), own)
        if project.is_file():
            tool = _parsed(project).get("tool")
            table: Any = tool.get("fifoq") if isinstance(tool, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if isinstance(table, dict):
                return _checked(table, project)  # pyright: ignore[reportUnknownArgumentType]
    return {}


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _checked(table: Mapping[str, Any], path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in table.items():
        if name not in VARIABLES:
            raise ConfigurationError(f"{path} sets {name!r}; the keys for fifoq are {', '.join(VARIABLES)}.")
        texts[name] = _text(name, value, path)
    _check_values(texts, path)
    return texts


def _text(name: str, value: Any, path: Path) -> str:
    if name == "queues" and isinstance(value, list):
        value = ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise ConfigurationError(f"{name} in {path} is a text or a number, not {value!r}.")
    return str(value)


def _check_values(texts: Mapping[str, str], path: Path) -> None:
    """Check the values as the environment's are, and name the file."""
    from fifoq.settings import Settings

    for name, text in texts.items():
        try:
            Settings.read({}, {VARIABLES[name]: text})
        except ConfigurationError as error:
            why = str(error).removeprefix(f"The environment variable {VARIABLES[name]} ")
            raise ConfigurationError(f"{name} in {path} {why}") from error
    if "processes" in texts:
        _processes(texts["processes"], f"processes in {path}")


def _processes(text: str | None, where: str = "FIFOQ_PROCESSES") -> int:
    if not text:
        return 1
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise ConfigurationError(f"{where} is a whole number from 1 to 1,000, not {text!r}.")
    return int(text)
