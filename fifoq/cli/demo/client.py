"""The demo's client: it plays all games over HTTP, one way or the other, and reads the states and logs afterwards."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple

from fifoq.cli.demo.boards import Attempt, GameState
from fifoq.cli.demo.games import Plan
from fifoq.cli.demo.processes import HOST, KilledWorker

Way = Literal["naive", "fifoq"]
"""The first part of the paths: moves run by BackgroundTasks, or by fifoq."""
STALL = 20.0
"""Seconds without progress after which a run ends, although moves are missing."""
POLL = 0.05
"""Seconds between two requests for the server's progress."""


class UnexpectedAnswer(Exception):
    """The server answered with another status than the expected one."""


class Client:
    """
    A small HTTP client: JSON, at most `width` requests at a time, each on a connection that the next one uses again.

    It is written here, in little code, because a client library would take a larger part of the measured time.
    """

    def __init__(self, port: int, width: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._slots = asyncio.Semaphore(width)

    async def get(self, path: str) -> Any:
        """Return the content of a 200 answer to a GET. Raises UnexpectedAnswer, or OSError if the server is gone."""
        return await self._request("GET", path, b"", 200)

    async def post(self, path: str, content: Any) -> Any:
        """Return the content of a 202 answer to a POST. Raises as `get` does."""
        return await self._request("POST", path, json.dumps(content).encode(), 202)

    async def close(self) -> None:
        """Close all connections."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()

    async def _request(self, method: str, path: str, body: bytes, expected: int) -> Any:
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        async with self._connection() as (reader, writer):
            writer.write(head.encode() + body)
            status, answer = await _read_answer(reader)
        if status != expected:
            shown = answer[:300].decode("utf-8", "replace")
            raise UnexpectedAnswer(f"{method} {path} was answered with {status}: {shown}")
        return json.loads(answer)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with self._slots:
            connection = self._idle.pop() if self._idle else await asyncio.open_connection(HOST, self._port)
            try:
                yield connection
            except BaseException:
                connection[1].close()  # part of an answer may be unread, so no other request can use it
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


# ---- playing all games ----


class Run(NamedTuple):
    """The moves that were sent one way, and the state of each game afterwards."""

    plans: list[Plan]
    states: dict[str, GameState]
    """By the name of the game."""
    server: int
    """The id of the process that took the requests."""
    killed: tuple[KilledWorker, ...] | None = None
    """The workers that were killed; None for a run in which no worker was to be killed."""


class ProgressCallbacks(NamedTuple):
    """Functions that a run calls as it gets on, with the number of moves so far."""

    sent: Callable[[int], None]
    ended: Callable[[int], None]


class Player:
    """Plays all games one way."""

    def __init__(self, client: Client, way: Way, plans: list[Plan], callbacks: ProgressCallbacks) -> None:
        self._client, self._way, self._plans, self._callbacks = client, way, plans, callbacks
        self._total = sum(len(plan.requests) for plan in plans)
        self._sent = 0

    async def play(self, midway: Callable[[], Awaitable[tuple[KilledWorker, ...]]] | None = None) -> Run:
        """
        Play all games at the same time, and wait until every move has ended.

        The moves of a game are sent one after another, each as soon as the one before was accepted. `midway` is
        awaited when half of all moves have ended. If no move ends for STALL seconds, the run ends without the missing
        moves, and the verdict counts them as lost. Raises UnexpectedAnswer and OSError.
        """
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(midway))
                for plan in self._plans:
                    group.create_task(self._send(plan))
        except* (UnexpectedAnswer, OSError) as errors:
            raise errors.exceptions[0] from None
        server, killed = watch.result()
        return Run(self._plans, await self.states(), server, killed)

    async def states(self) -> dict[str, GameState]:
        """Return the present state of each game."""
        names = [plan.game.name for plan in self._plans]
        found: list[dict[str, Any]] = await asyncio.gather(
            *(self._client.get(f"/{self._way}/{name}") for name in names)
        )
        return {
            name: GameState(state["board"], tuple(Attempt(*fields) for fields in state["log"]))
            for name, state in zip(names, found, strict=True)
        }

    async def log(self) -> list[Attempt]:
        """Return the attempts of all games so far."""
        return [attempt for state in (await self.states()).values() for attempt in state.log]

    async def _send(self, plan: Plan) -> None:
        for request in plan.requests:
            await self._client.post(f"/{self._way}/{plan.game.name}/moves", dataclasses.asdict(request))
            self._sent += 1
            self._callbacks.sent(self._sent)

    async def _watch(
        self, midway: Callable[[], Awaitable[tuple[KilledWorker, ...]]] | None
    ) -> tuple[int, tuple[KilledWorker, ...] | None]:
        loop = asyncio.get_running_loop()
        ended, progressed_at, killed = 0, loop.time(), None
        while True:
            progress = await self._client.get(f"/{self._way}")
            if progress["ended"] > ended:
                ended, progressed_at = progress["ended"], loop.time()
                self._callbacks.ended(ended)
            if ended >= self._total or loop.time() > progressed_at + STALL:
                return progress["process"], killed
            if midway is not None and ended >= self._total // 2:
                killed, midway = await midway(), None
            await asyncio.sleep(POLL)
