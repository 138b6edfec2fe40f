"""
The demo's service: its task, the FastAPI app that enqueues it, and the programs of the server and worker processes.

    python -m fifoq.cli.demo.service server|worker FOLDER QUEUE [embedded]

processes.py starts these. The demo itself reaches the service by HTTP only, so it measures from outside.
BackgroundTasks run the moves in the server's process. The jobs of fifoq run in worker processes, or in the server's if
it is `embedded`, as it must be on a store that other processes cannot see.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI

from fifoq import Context, Fifoq, Retry, Task
from fifoq.cli.demo.boards import Boards
from fifoq.cli.demo.games import MoveDoesNotFit, MoveRequest
from fifoq.cli.demo.processes import HOST, LEASE, Arguments
from fifoq_fastapi import install_errors, lifespan


def make_tasks(arguments: Arguments, *, key: str | None = "game") -> tuple[Fifoq, Task[[str, MoveRequest], None]]:
    """Return the Fifoq on FIFOQ_URL and the task. Tests pass no `key`, as a bug: then nothing keeps moves in order."""
    tasks = Fifoq(lease=LEASE)
    boards = Boards(Path(arguments.folder) / "fifoq")

    @tasks.task(queue=arguments.queue, key=key, retry=Retry(attempts=3, backoff=0.02), retain=600)
    async def make_move(ctx: Context, game: str, move: MoveRequest) -> None:
        await boards.apply(game, move, ctx.attempt, ctx.fence)

    return tasks, make_move


# ---- the server ----


def make_app(arguments: Arguments, *, key: str | None = "game") -> FastAPI:
    """Return the app, with its queue in the backend at FIFOQ_URL."""
    tasks, make_move = make_tasks(arguments, key=key)
    app = FastAPI(lifespan=lifespan(tasks, worker=bool(arguments.embedded)))
    install_errors(app)
    _add_naive_routes(app, Boards(Path(arguments.folder) / "naive"))
    boards = Boards(Path(arguments.folder) / "fifoq")

    @app.post("/fifoq/{game}/moves", status_code=202)
    async def accept(game: str, move: MoveRequest) -> dict[str, str]:
        job = await make_move.enqueue(game, move)
        return {"job": job.id}

    @app.get("/fifoq")
    async def progress() -> dict[str, int]:
        stats = (await tasks.stats())[arguments.queue]
        return {"ended": stats.succeeded + stats.failed + stats.cancelled, "process": os.getpid()}

    @app.get("/fifoq/{game}")
    async def state(game: str) -> dict[str, Any]:
        return boards.state(game)._asdict()

    return app


def _add_naive_routes(app: FastAPI, boards: Boards) -> None:
    ended = 0

    async def make_move(game: str, move: MoveRequest) -> None:
        nonlocal ended
        try:
            await boards.apply(game, move)
        except MoveDoesNotFit:
            pass  # it is in the log; nothing repeats a failed background task
        finally:
            ended += 1

    @app.post("/naive/{game}/moves", status_code=202)
    async def accept(game: str, move: MoveRequest, background: BackgroundTasks) -> dict[str, int]:
        background.add_task(make_move, game, move)
        return {"ply": move.ply}

    @app.get("/naive")
    async def progress() -> dict[str, int]:
        return {"ended": ended, "process": os.getpid()}

    @app.get("/naive/{game}")
    async def state(game: str) -> dict[str, Any]:
        return boards.state(game)._asdict()


def serve(app: FastAPI) -> None:
    """Print a free loopback port, and serve `app` there until standard input ends or a signal comes."""
    # TCP by name: asyncio switches Nagle's delay off only for sockets created so, and the delay is 40 ms per answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    listener.listen(2048)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=600))

    def stop() -> None:
        server.should_exit = True

    _when_orphaned(stop)
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])


# ---- a worker ----


async def work(tasks: Fifoq) -> None:
    """Print a line and work until a signal. FIFOQ_QUEUES and FIFOQ_CONCURRENCY of the user's shell have no effect."""
    async with tasks:
        print("ready", flush=True)
        await tasks.worker(queues=tasks.queues, concurrency=100).run()


# ---- programs ----


def main() -> None:
    """Run the program that the command line names."""
    _, program, *rest = sys.argv
    arguments = Arguments(*rest)
    if program == "server":
        serve(make_app(arguments))
    else:
        # The worker stops itself by a signal, as an operator stops a worker.
        _when_orphaned(lambda: os.kill(os.getpid(), signal.SIGTERM))
        asyncio.run(work(make_tasks(arguments)[0]))


def _when_orphaned(stop: Callable[[], object]) -> None:
    """
    Call `stop`, in a thread of its own, once standard input ends, as it does even if the demo is killed.

    Raw reads, because a buffered read holds a lock at exit.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        stop()

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
