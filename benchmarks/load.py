"""
A load on an HTTP server: some connections, each of which sends its next request when the answer has arrived.

`wrk` generates it if it is installed. Else a small asyncio program does, in a process of its own; it takes more of the
processor and so measures lower rates, but the same ratios.

    python -m benchmarks.load 'http://127.0.0.1:8000/scores/m{}?goals=3' 64 5

`{}` in the URL is replaced by a number below NUMBERS, another one in each request.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

NUMBERS = 1_000

_WRK = """
wrk.method = "POST"
local requests, last = {}, 0
init = function()
    for number = 0, %d do requests[number] = wrk.format(nil, (("%s"):gsub("{}", number))) end
end
request = function()
    last = (last + 1) %% (#requests + 1)
    return requests[last]
end
"""


class Load(NamedTuple):
    """The answers of the server in one round."""

    requests: int
    seconds: float
    errors: int
    """Answers other than 2xx, and connections that broke."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def load(url: str, connections: int, seconds: float) -> Load:
    """POST to `url` for a while."""
    wrk = shutil.which("wrk")
    return _by_wrk(wrk, url, connections, seconds) if wrk else _by_asyncio(url, connections, seconds)


def _by_wrk(wrk: str, url: str, connections: int, seconds: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "post.lua")
        parts = urlsplit(url)
        script.write_text(_WRK % (NUMBERS - 1, f"{parts.path}?{parts.query}"))
        base = f"{parts.scheme}://{parts.netloc}"
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), base]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    done = re.search(r"(\d+) requests in ([\d.]+)(m?)s", output)
    assert done is not None, output
    errors = [int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", output)]
    errors += [int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", output)]
    return Load(int(done[1]), float(done[2]) / (1000 if done[3] else 1), sum(errors))


def _by_asyncio(url: str, connections: int, seconds: float) -> Load:
    command = [sys.executable, "-m", "benchmarks.load", url, str(connections), str(seconds)]
    return Load(*json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last is answered, and counts answers and errors."""

    transport: asyncio.Transport

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._rest = b""
        self.answers = self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, end, body = self._rest.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if not end or (length and len(body) < int(length[1])):
            return
        self._rest = b""
        self.answers += 1
        self.errors += not head.startswith(b"HTTP/1.1 2")
        self.transport.write(next(self._requests))


async def _run(url: str, connections: int, seconds: float) -> Load:
    parts = urlsplit(url)
    request = f"POST {parts.path}?{parts.query} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: 0\r\n\r\n"
    requests = cycle([request.replace("{}", str(number)).encode() for number in range(NUMBERS)])
    loop, begun = asyncio.get_running_loop(), time.perf_counter()
    made = [
        (await loop.create_connection(lambda: _Connection(requests), parts.hostname, parts.port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    broken = sum(each.transport.is_closing() for each in made)
    for each in made:
        each.transport.abort()
    taken = time.perf_counter() - begun
    return Load(sum(each.answers for each in made), taken, sum(each.errors for each in made) + broken)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
