"""
The extras of fifoq, for errors: which packages one installs, and which versions of a package work. No error names fifoq
itself, which is on no index.
"""

import re
from importlib.metadata import PackageNotFoundError, requires, version

from fifoq.errors import ConfigurationError

_REQUIREMENT = re.compile(r"(?P<what>[^;]+?)\s*;\s*extra == ['\"](?P<extra>[^'\"]+)['\"]")
_OWN = re.compile(r"fifoq\[(?P<extras>[^\]]+)\]")


def install_line(extra: str) -> str:
    """Return the command that installs the packages of an extra, at the versions that this fifoq works with."""
    packages = " ".join(f'"{each}"' for each in sorted(_packages(extra)))
    return f"pip install {packages}" if packages else f'pip install ".[{extra}]", in a clone of fifoq'


def unfit(package: str) -> ConfigurationError:
    """Return the error for a version of a package that lacks a private part which fifoq uses."""
    works = sorted(
        {each for extra in ("sqlite", "redis", "fastapi") for each in _packages(extra) if _is_of(package, each)}
    )
    install = " ".join(f'"{each}"' for each in works) or package
    try:
        here = version(package)
    except PackageNotFoundError:
        here = "of an unknown version"
    return ConfigurationError(
        f"fifoq does not work with the installed {package} {here}, which has changed inside. Run: pip install {install}"
    )


def _is_of(package: str, requirement: str) -> bool:
    return re.match(rf"{re.escape(package)}(?![\w.-])", requirement) is not None


def _packages(extra: str) -> set[str]:
    try:
        lines = requires("fifoq") or []
    except PackageNotFoundError:  # it was not installed, but put on the path
        return set()
    found: set[str] = set()
    for line in lines:
        match = _REQUIREMENT.fullmatch(line)
        if match and match["extra"] == extra:
            own = _OWN.fullmatch(match["what"])
            found |= {match["what"]} if own is None else set[str]().union(*map(_packages, own["extras"].split(",")))
    return found
