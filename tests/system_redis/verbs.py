"""The commands of one verb, as they go over the wire."""

from fifoq_redis.functions import library
from tests.servers.proxy import Command, Match


def verb(name: str) -> Match:
    """Match the calls of one function of fifoq: `put`, `claim`, `settle`, `extend` and so on."""
    function = library().functions[name]

    def match(command: Command) -> bool:
        return command[0].upper() == b"FCALL" and command[1] == function

    return match
