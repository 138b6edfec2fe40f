"""Finds the Fifoq of an app: `module`, or `module:attr`, where `attr` may be dotted, or a call like `make()`."""

import importlib
import os
import sys
import traceback
from types import ModuleType
from typing import Any

from fifoq.app import Fifoq
from fifoq.cli.output import FAILED, AppError
from fifoq.errors import ConfigurationError

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder of fifoq."""


def load(app: str, folder: str) -> tuple[Fifoq, str]:
    """
    Return the Fifoq that `app` names, and its name as module:attr. `folder` is put first on `sys.path`.

    Raises ConfigurationError.
    """
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        raise ConfigurationError(f"There is no folder {folder}. Set --app-dir to the one that your module is in.")
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    name, _, attr = app.partition(":")
    module = _imported(name, app, folder)
    if attr:
        return _named(module, attr, app), app
    return _only(module)


def _imported(name: str, app: str, folder: str) -> ModuleType:
    if name.endswith(".py") or "/" in name or not name:
        module = name.removesuffix(".py").strip("./").replace("/", ".") or "shop"
        raise ConfigurationError(f"{app!r} does not name a module. Write it as in an import: fifoq worker {module}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"There is no module {error.name!r} in {folder} or on sys.path. Change to the folder that it is in, or "
                "set --app-dir."
            ) from error
        raise AppError(
            f"{name} cannot be imported: it needs the module {error.name!r}, which is not installed here.",
            lines_of_the_app(error),
        ) from error
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:
        raise AppError(f"{name} cannot be imported: {_sentence(error)}", lines_of_the_app(error)) from error


def _named(module: ModuleType, attr: str, app: str) -> Fifoq:
    value: Any = module
    for part in attr.removesuffix("()").split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise ConfigurationError(
                f"{app!r} leads nowhere: {_name_of(value)} has no {part!r}.{_alternatives(module)}"
            ) from error
    if attr.endswith("()"):
        try:
            value = value()
        except (Exception, SystemExit) as error:
            raise AppError(f"{app} failed: {_sentence(error)}", lines_of_the_app(error)) from error
    if isinstance(value, Fifoq):
        return value
    call = f" If it makes one, write {app}()." if callable(value) and not attr.endswith("()") else ""
    raise ConfigurationError(f"{app} is {_kind(value)}, not a Fifoq.{call}{_alternatives(module)}")


def _only(module: ModuleType) -> tuple[Fifoq, str]:
    """Return the one Fifoq of a module."""
    found = _fifoqs(module)
    different = set(map(id, found.values()))
    if len(different) == 1:
        name, tasks = next(iter(found.items()))
        return tasks, f"{module.__name__}:{name}"
    if not found:
        raise ConfigurationError(
            f"Module {module.__name__} ({_file(module)}) has no Fifoq. Name the one that does; if a function makes it, "
            f"write fifoq worker {module.__name__}:make()"
        )
    raise ConfigurationError(
        f"Module {module.__name__} has {len(different)} Fifoqs: {', '.join(found)}. Name one of them: "
        f"fifoq worker {module.__name__}:{next(iter(found))}"
    )


def _fifoqs(module: ModuleType) -> dict[str, Fifoq]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Fifoq)}


def _alternatives(module: ModuleType) -> str:
    found = _fifoqs(module)
    return f" The module has {', '.join(f'{module.__name__}:{name}' for name in found)}." if found else ""


def _name_of(value: Any) -> str:
    return f"module {value.__name__}" if isinstance(value, ModuleType) else _kind(value)


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "a folder without __init__.py"


def start_failed(error: BaseException) -> AppError:
    """Return the error of an app whose lifespan failed."""
    return AppError(f"The app did not start: {_sentence(error)}", lines_of_the_app(error), FAILED)


def _sentence(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ended the program (status {error.code})."
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {lines[0]}' if lines else ''}"


def lines_of_the_app(error: BaseException) -> str:
    """Return the traceback without the lines of fifoq and of the import system."""
    trimmed = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = trimmed
    while part is not None:
        part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if not _is_ours(frame.filename)])
        part = part.__cause__ or (None if part.__suppress_context__ else part.__context__)
    return "".join(trimmed.format())


def _is_ours(file: str) -> bool:
    return file.startswith((f"{_OURS}{os.sep}", "<frozen importlib")) or file == importlib.__file__
