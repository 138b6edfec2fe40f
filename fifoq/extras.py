"""The extras of fifoq, for errors: which packages one installs. No error names fifoq itself, which is on no index."""

import re
from importlib.metadata import PackageNotFoundError, requires

_REQUIREMENT = re.compile(r"(?P<what>[^;]+?)\s*;\s*extra == ['\"](?P<extra>[^'\"]+)['\"]")
_OWN = re.compile(r"fifoq\[(?P<extras>[^\]]+)\]")


def install_line(extra: str) -> str:
    """Return the command that installs the packages of an extra, at the versions that this fifoq works with."""
    packages = " ".join(f'"{each}"' for each in sorted(_packages(extra)))
    return f"pip install {packages}" if packages else f'pip install ".[{extra}]", in a clone of fifoq'


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
