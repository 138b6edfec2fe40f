"""The command `fifoq demo`: it starts the processes, plays all games both ways, kills a worker midway, and reports."""

import asyncio
import os
import secrets
import signal
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from urllib.parse import quote

from rich.console import Console

from fifoq import Fifoq
from fifoq.cli.demo.client import Client, Player
from fifoq.cli.demo.games import plans
from fifoq.cli.demo.processes import Arguments, KilledWorker, kill_busy_worker, running
from fifoq.cli.demo.report import Report, as_json, conclusion, progress, report_on, show
from fifoq.errors import ConfigurationError
from fifoq.extras import install_line
from fifoq.url import redacted

MEAN_WORK = 0.02
"""Seconds that a move works, on average."""
FAILING = 0.01
"""Share of the moves whose first attempt fails, through fifoq. BackgroundTasks never retry, so theirs do not fail."""
WIDTH = 64
"""HTTP requests at a time."""


def demo(games: int, url: str | None, seed: int, *, json: bool) -> int:
    """Run the demo; return the exit status: 0 if every printed promise was checked and holds."""
    for module in ("fastapi", "uvicorn"):
        if find_spec(module) is None:
            raise ConfigurationError(f"fifoq demo needs {module}: {install_line('cli')}")
    url = url or os.environ.get("FIFOQ_URL") or None
    with TemporaryDirectory(prefix="fifoq-demo-", ignore_cleanup_errors=True) as folder:
        report = asyncio.run(_run(games, url or f"sqlite:///{quote(folder)}/jobs.db", folder, seed))
    if url is None:
        report = report._replace(backend="SQLite in a temporary folder")
    if json:
        print(as_json(report))
    else:
        show(report, Console())
    if not report.holds:
        Console(stderr=True).print(conclusion(report), style="bold red", highlight=False)
        return 1
    return 0


async def _run(games: int, url: str, folder: str, seed: int) -> Report:
    # SIGTERM cleans up as Ctrl-C does.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    async with Fifoq(url):
        pass  # a wrong URL or an unreachable store ends the demo here, with one sentence
    embedded = url.lower().startswith("memory:")
    arguments = Arguments(folder, f"demo-{secrets.token_hex(4)}", "embedded" if embedded else "")
    naive_plans = plans(games, seed, mean_work=MEAN_WORK, failing=0)
    fifoq_plans = plans(games, seed, mean_work=MEAN_WORK, failing=FAILING)
    moves = sum(len(plan.requests) for plan in fifoq_plans)
    with progress(Console(stderr=True)) as bars:
        async with running(url, arguments) as (processes, port):
            client = Client(port, WIDTH)
            naive = await Player(client, "naive", naive_plans, bars.add("BackgroundTasks", moves)).play()
            player = Player(client, "fifoq", fifoq_plans, bars.add("fifoq", moves))

            async def kill() -> tuple[KilledWorker, ...]:
                killed = await kill_busy_worker(processes, player.log)
                bars.print(*(f"Killed worker process {each.worker}, and started another one." for each in killed))
                return killed

            fifoq = await player.play(None if embedded else kill)
            await client.close()
    return report_on(redacted(url), seed, naive, fifoq)
