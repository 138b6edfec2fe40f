"""`fifoq demo`, the command: starts the processes, plays both ways, kills a worker midway, and reports."""

import asyncio
import os
import secrets
import signal
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from fifoq import Fifoq
from fifoq.backends import redacted
from fifoq.cli.demo.games import plans
from fifoq.cli.demo.http import Client
from fifoq.cli.demo.killing import kill_one
from fifoq.cli.demo.moves import Scene
from fifoq.cli.demo.performance import Player
from fifoq.cli.demo.report import Report, as_json, conclusion, judge, progress, show
from fifoq.cli.demo.stage import Casualty, setting
from fifoq.errors import ConfigurationError

GAMES = 60
"""As many games as take some ten seconds in all on two cores."""
MEAN_WORK = 0.02
"""Seconds that the job of one move takes, on average."""
STUMBLING = 0.01
"""Share of the moves whose first attempt fails, through fifoq. The naive way, which never tries again, is spared."""
WIDTH = 64
"""HTTP requests at a time."""


def demo(
    games: Annotated[int, typer.Option(min=1, help="How many games to play, interleaved.")] = GAMES,
    url: Annotated[
        str | None,
        typer.Option(help="The store. Default: FIFOQ_URL, or SQLite in a temporary folder.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the random work times and failures.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the report.")] = False,
) -> None:
    """
    Play real games of chess through a FastAPI server, the naive way and through fifoq, and prove what came out.

    Server and workers are processes of their own, and one worker is killed midway; in memory (--url memory://) all is
    one process, and nobody is killed.

    Exit status 0 means that every claim printed was checked and holds.
    """
    for module in ("fastapi", "uvicorn"):
        if find_spec(module) is None:
            raise ConfigurationError(f'fifoq demo needs {module}: pip install "fifoq[cli]"')
    url = url or os.environ.get("FIFOQ_URL") or None
    with TemporaryDirectory(prefix="fifoq-demo-", ignore_cleanup_errors=True) as folder:
        report = asyncio.run(_run(games, url or f"sqlite:///{quote(folder)}/jobs.db", folder, seed))
    if url is None:
        report = report._replace(backend="SQLite in a temporary folder")
    if json:
        typer.echo(as_json(report))
    else:
        show(report, Console())
    if not report.holds:
        Console(stderr=True).print(conclusion(report), style="bold red", highlight=False)
        raise typer.Exit(1)


async def _run(games: int, url: str, folder: str, seed: int) -> Report:
    # Ended by SIGTERM, it tidies up as after Ctrl-C.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    async with Fifoq(url):
        pass  # a wrong URL, or a store that is down, ends here with a sentence
    alone = url.lower().startswith("memory:")
    scene = Scene(folder, f"demo-{secrets.token_hex(4)}", "embedded" if alone else "")
    naive_plans = plans(games, seed, mean_work=MEAN_WORK, stumbling=0)
    fifoq_plans = plans(games, seed, mean_work=MEAN_WORK, stumbling=STUMBLING)
    moves = sum(len(plan.turns) for plan in fifoq_plans)
    with progress(Console(stderr=True)) as bars:
        async with setting(url, scene) as (stage, address):
            client = Client(address, WIDTH)
            naive = await Player(client, "naive", naive_plans, bars.counter("BackgroundTasks", moves)).perform()
            player = Player(client, "fifoq", fifoq_plans, bars.counter("fifoq", moves))

            async def kill() -> tuple[Casualty, ...]:
                casualties = await kill_one(stage, player.log)
                bars.say(*(f"Killed worker process {each.worker}, and started another one." for each in casualties))
                return casualties

            fifoq = await player.perform(None if alone else kill)
            await client.close()
    return judge(redacted(url), seed, naive, fifoq)
