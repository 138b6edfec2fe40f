"""The demo's one task, and what all processes of a performance are told: the server's and the workers' alike."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fifoq import Context, Fifoq, Retry, Task
from fifoq.cli.demo.boards import Boards
from fifoq.cli.demo.log import Turn

LEASE = 2.0
"""Seconds for which a claim holds: short, so that one sees the moves of a killed worker taken over."""


class Scene(NamedTuple):
    """What every process is told on its command line. The store's URL comes by the environment: it may be secret."""

    folder: str
    """Where the boards are stored."""
    queue: str
    """One of its own for each run: a store that outlives the demo may hold the jobs of an earlier one."""
    embedded: str = ""
    """Not empty: the server does the work itself."""

    @classmethod
    def told(cls, arguments: Sequence[str] = sys.argv) -> "Scene":
        """Read the command line."""
        return cls(*arguments[1:])


def make_tasks(scene: Scene, *, key: str | None = "game") -> tuple[Fifoq, Task[[str, Turn], None]]:
    """Return the Fifoq on FIFOQ_URL, and the task. Without a `key` nothing is in order: a planted fault."""
    tasks = Fifoq(lease=LEASE)
    boards = Boards(Path(scene.folder) / "fifoq")

    @tasks.task(queue=scene.queue, key=key, retry=Retry(attempts=3, backoff=0.02), retain=600)
    async def make_move(ctx: Context, game: str, turn: Turn) -> None:
        await boards.apply(game, turn, ctx.attempt, ctx.fence)

    return tasks, make_move
