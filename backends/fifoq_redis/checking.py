"""What a server says of itself, and what an operator should know of that: a sentence each."""

from typing import NamedTuple

from fifoq.errors import ConfigurationError

OLDEST = (7, 0)
"""The first version with libraries of functions, which say what is to be checked before they run."""

EVICTS = "evicts keys when it is full"


class Server(NamedTuple):
    """What matters of a server's INFO."""

    version: str
    policy: str
    maxmemory: int
    appends: bool

    @classmethod
    def of(cls, info: bytes) -> "Server":
        said = dict(line.split(":", 1) for line in info.decode("utf-8", "replace").splitlines() if ":" in line)
        return cls(
            said.get("redis_version", ""),
            said.get("maxmemory_policy", "noeviction"),
            int(said.get("maxmemory", "0")),
            said.get("aof_enabled", "0") == "1",
        )

    def refuse(self, where: str) -> None:
        """Raises ConfigurationError if jobs would not be safe there, or not work."""
        if _version(self.version) < OLDEST:
            raise ConfigurationError(f"{where} is Redis {self.version}; fifoq needs Redis 7.0 or Valkey, or later.")
        if self.maxmemory and self._evicts:
            raise ConfigurationError(
                f"{where} {EVICTS}: its maxmemory-policy is {self.policy}. It would remove whole queues. Set "
                "maxmemory-policy noeviction (or one of volatile-*, which leaves fifoq's keys alone)."
            )

    def advice(self, where: str) -> tuple[str, ...]:
        notes: list[str] = []
        if self._evicts:
            notes.append(
                f"{where} {EVICTS}: its maxmemory-policy is {self.policy}. As soon as a maxmemory is set, "
                "whole queues may go. Set the policy to noeviction."
            )
        if not self.appends:
            notes.append(
                f"{where} has appendonly no: a restart loses every job since its last snapshot, and all of them if it "
                "makes none."
            )
        return tuple(notes)

    @property
    def _evicts(self) -> bool:
        """The others evict only keys with a time to live. fifoq's have none."""
        return self.policy.startswith("allkeys")


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else OLDEST
