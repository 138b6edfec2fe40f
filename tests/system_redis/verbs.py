"""The commands of one verb, as they go over the wire."""

from fifoq_redis.scripts import load
from tests.servers.proxy import Command, Match


def verb(name: str) -> Match:
    """Match the calls of one script of fifoq: `put`, `claim`, `settle`, `extend` and so on."""
    sha = load(name).sha

    def match(command: Command) -> bool:
        return command[0].upper() == b"EVALSHA" and command[1] == sha

    return match
