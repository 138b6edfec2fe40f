"""
The demo's server: a FastAPI app that stores boards and applies moves to them, the naive way and through fifoq.

It runs in a process of its own (stage.py starts it), so that the client measures it from outside and knows nothing
but HTTP. It keeps a log of what it did, and judges nothing: verdict.py does, from that log.
"""

import asyncio
import os
import secrets
import socket
import threading
import time
from collections import defaultdict
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI

from fifoq import Context, Fifoq, Retry
from fifoq.cli.demo.board import START, MoveDoesNotFit, play
from fifoq.cli.demo.log import Entry, Turn
from fifoq_fastapi import install_errors, lifespan


class Stumble(Exception):
    """The failure that the demo plants in some first attempts."""


class Boards:
    """The stored boards, and the log of what was done to them: a slow store without locks or transactions."""

    def __init__(self) -> None:
        self._boards: dict[str, str] = {}
        self._log: dict[str, list[Entry]] = defaultdict(list)
        self.misfits = 0
        """Moves that found no piece where they start: the board was not the one that they were played on."""

    async def apply(self, game: str, turn: Turn, attempt: int = 1) -> None:
        """Read the board, work, store the board after the move: what another move stores meanwhile is overwritten."""
        started, board = time.monotonic(), self._boards.get(game, START)
        after = None
        try:
            await asyncio.sleep(turn.work)
            if turn.stumbles and attempt == 1:
                raise Stumble(f"ply {turn.ply} of {game} stumbles")
            self._boards[game] = after = play(board, turn.uci)
        except MoveDoesNotFit:
            self.misfits += 1
            raise
        finally:
            self._log[game].append(Entry(turn.ply, attempt, started, time.monotonic(), after))

    def facts(self, game: str) -> dict[str, Any]:
        """Return all that is known of one game."""
        return {"board": self._boards.get(game, START), "log": self._log[game]}


def make_app(url: str | None = None, *, key: str | None = "game") -> FastAPI:
    """Return the app, with its queue in the backend at `url`. Without a `key` nothing is in order: a planted fault."""
    tasks = Fifoq(url)
    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    install_errors(app)
    _add_naive_way(app, Boards())
    _add_fifoq_way(app, Boards(), tasks, key)
    return app


def _add_naive_way(app: FastAPI, boards: Boards) -> None:
    ended = 0

    async def make_move(game: str, turn: Turn) -> None:
        nonlocal ended
        try:
            await boards.apply(game, turn)
        except MoveDoesNotFit:
            pass  # counted; a background task that fails is gone
        finally:
            ended += 1

    @app.post("/naive/{game}/moves", status_code=202)
    async def accept(game: str, turn: Turn, background: BackgroundTasks) -> dict[str, int]:
        background.add_task(make_move, game, turn)
        return {"ply": turn.ply}

    @app.get("/naive")
    async def progress() -> dict[str, int]:
        return {"ended": ended, "misfits": boards.misfits}

    @app.get("/naive/{game}")
    async def facts(game: str) -> dict[str, Any]:
        return boards.facts(game)


def _add_fifoq_way(app: FastAPI, boards: Boards, tasks: Fifoq, key: str | None) -> None:
    # A queue of its own for each run: a store that outlives the demo may hold the jobs of an earlier one.
    queue = f"demo-{secrets.token_hex(4)}"

    @tasks.task(queue=queue, key=key, retry=Retry(attempts=3, backoff=0.02), retain=600)
    async def make_move(ctx: Context, game: str, turn: Turn) -> None:
        await boards.apply(game, turn, ctx.attempt)

    @app.post("/fifoq/{game}/moves", status_code=202)
    async def accept(game: str, turn: Turn) -> dict[str, str]:
        job = await make_move.enqueue(game, turn)
        return {"job": job.id}

    @app.get("/fifoq")
    async def progress() -> dict[str, int]:
        stats = (await tasks.stats())[queue]
        return {"ended": stats.succeeded + stats.failed + stats.cancelled, "misfits": boards.misfits}

    @app.get("/fifoq/{game}")
    async def facts(game: str) -> dict[str, Any]:
        return boards.facts(game)


def serve(app: FastAPI) -> None:
    """Serve `app` on a free loopback port, printed on the first line, until standard input ends or a signal comes."""
    # TCP by name: asyncio switches Nagle's delay off only for sockets that say so, and it costs 40 ms per answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=600))
    threading.Thread(target=_stop_with_input, args=(server,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])


def _stop_with_input(server: uvicorn.Server) -> None:
    """End the server with its parent, however that ends. Raw reads: a buffered one holds a lock at exit."""
    while os.read(0, 1024):
        pass
    server.should_exit = True


if __name__ == "__main__":
    serve(make_app())
