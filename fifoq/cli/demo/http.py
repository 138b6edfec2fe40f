"""The demo's HTTP client: JSON over kept-alive connections, in little code, so that it costs the measurement little."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Refused(Exception):
    """The server answered otherwise than was asked for."""


class Client:
    """Up to `width` requests at a time to one server, each on a connection that is kept for the next one."""

    def __init__(self, address: Address, width: int) -> None:
        self._address = address
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._slots = asyncio.Semaphore(width)

    async def get(self, path: str) -> Any:
        """Return what a GET answers with 200. Raises Refused, or OSError if the server is gone."""
        return await self._request("GET", path, b"", 200)

    async def post(self, path: str, content: Any) -> Any:
        """Return what a POST answers with 202. Raises as `get` does."""
        return await self._request("POST", path, json.dumps(content).encode(), 202)

    async def close(self) -> None:
        """Close all connections."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()

    async def _request(self, method: str, path: str, body: bytes, expected: int) -> Any:
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {self._address.host}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        async with self._connection() as (reader, writer):
            writer.write(head.encode() + body)
            status, answer = await _read_answer(reader)
        if status != expected:
            raise Refused(f"{method} {path} was answered with {status}: {answer[:300].decode('utf-8', 'replace')}")
        return json.loads(answer)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with self._slots:
            connection = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
            try:
                yield connection
            except BaseException:
                connection[1].close()  # half-used: it cannot serve another request
                raise
            self._idle.append(connection)


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        length = next(int(field.split(":")[1]) for field in fields if field.lower().startswith("content-length:"))
        return int(first.split()[1]), await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the server closed the connection") from error
