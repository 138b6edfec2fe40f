"""`fifoq demo`, the command: starts the server, plays both ways, and reports."""

import asyncio
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console

from fifoq import Fifoq
from fifoq.cli.demo import stage
from fifoq.cli.demo.games import Plan, plans
from fifoq.cli.demo.http import Client
from fifoq.cli.demo.performance import Performance, Way, perform
from fifoq.cli.demo.report import Bars, Report, as_json, conclusion, judge, progress, show
from fifoq.connect import redacted
from fifoq.errors import ConfigurationError
from fifoq.settings import Settings

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
        str | None, typer.Option(help="The backend. Default: FIFOQ_URL, or memory://", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the random work times and failures.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the report.")] = False,
) -> None:
    """
    Play real games of chess through a FastAPI server, the naive way and through fifoq, and prove what came out.

    Exit status 0 means that every claim printed was checked and holds.
    """
    for module in ("fastapi", "uvicorn"):
        if find_spec(module) is None:
            raise ConfigurationError(f'fifoq demo needs {module}: pip install "fifoq[cli]"')
    report = asyncio.run(_run(games, url, seed))
    if json:
        typer.echo(as_json(report))
    else:
        show(report, Console())
    if not report.holds:
        Console(stderr=True).print(conclusion(report), style="bold red", highlight=False)
        raise typer.Exit(1)


async def _run(games: int, url: str | None, seed: int) -> Report:
    async with Fifoq(url):
        pass  # a wrong URL, or a store that is down, ends here with a sentence
    backend = redacted(Settings.read({"url": url}).url)
    naive_plans = plans(games, seed, mean_work=MEAN_WORK, stumbling=0)
    fifoq_plans = plans(games, seed, mean_work=MEAN_WORK, stumbling=STUMBLING)
    with progress(Console(stderr=True)) as bars:
        async with stage.server(url, stage.SERVER) as address:
            client = Client(address, WIDTH)
            naive = await _play(client, "naive", naive_plans, bars)
            fifoq = await _play(client, "fifoq", fifoq_plans, bars)
            await client.close()
    return judge(backend, seed, naive, fifoq)


async def _play(client: Client, way: Way, plans: list[Plan], bars: Bars) -> Performance:
    title = {"naive": "BackgroundTasks", "fifoq": "fifoq"}[way]
    return await perform(client, way, plans, bars.counter(title, sum(len(plan.turns) for plan in plans)))
