"""
The demo's server: a FastAPI app that takes moves, the naive way and through fifoq, and tells what became of them.

It runs in a process of its own (stage.py starts it), so that the client measures it from outside and knows nothing
but HTTP. The naive way works in this process; fifoq's jobs are done by the workers' (worker.py), but on a store that
no other process can see.
"""

import os
import socket
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI

from fifoq.cli.demo.board import MoveDoesNotFit
from fifoq.cli.demo.boards import Boards
from fifoq.cli.demo.child import when_orphaned
from fifoq.cli.demo.log import Turn
from fifoq.cli.demo.moves import Scene, make_tasks
from fifoq_fastapi import install_errors, lifespan


def make_app(scene: Scene, *, key: str | None = "game") -> FastAPI:
    """Return the app, with its queue in the backend at FIFOQ_URL. Without a `key` nothing is in order."""
    tasks, make_move = make_tasks(scene, key=key)
    app = FastAPI(lifespan=lifespan(tasks, worker=bool(scene.embedded)))
    install_errors(app)
    _add_naive_way(app, Boards(Path(scene.folder) / "naive"))
    boards = Boards(Path(scene.folder) / "fifoq")

    @app.post("/fifoq/{game}/moves", status_code=202)
    async def accept(game: str, turn: Turn) -> dict[str, str]:
        job = await make_move.enqueue(game, turn)
        return {"job": job.id}

    @app.get("/fifoq")
    async def progress() -> dict[str, int]:
        stats = (await tasks.stats())[scene.queue]
        return {"ended": stats.succeeded + stats.failed + stats.cancelled, "process": os.getpid()}

    @app.get("/fifoq/{game}")
    async def facts(game: str) -> dict[str, Any]:
        return boards.facts(game)

    return app


def _add_naive_way(app: FastAPI, boards: Boards) -> None:
    ended = 0

    async def make_move(game: str, turn: Turn) -> None:
        nonlocal ended
        try:
            await boards.apply(game, turn)
        except MoveDoesNotFit:
            pass  # logged; a background task that fails is gone
        finally:
            ended += 1

    @app.post("/naive/{game}/moves", status_code=202)
    async def accept(game: str, turn: Turn, background: BackgroundTasks) -> dict[str, int]:
        background.add_task(make_move, game, turn)
        return {"ply": turn.ply}

    @app.get("/naive")
    async def progress() -> dict[str, int]:
        return {"ended": ended, "process": os.getpid()}

    @app.get("/naive/{game}")
    async def facts(game: str) -> dict[str, Any]:
        return boards.facts(game)


def serve(app: FastAPI) -> None:
    """Serve `app` on a free loopback port, printed on the first line, until standard input ends or a signal comes."""
    # TCP by name: asyncio switches Nagle's delay off only for sockets that say so, and it costs 40 ms per answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=600))

    def stop() -> None:
        server.should_exit = True

    when_orphaned(stop)
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    serve(make_app(Scene.told()))
