"""The output of the demo: progress on standard error, and the report on standard output, as text or as JSON."""

import json
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fifoq.cli.demo.client import ProgressCallbacks, Run
from fifoq.cli.demo.games import RECORDED
from fifoq.cli.demo.processes import LEASE, WORKERS
from fifoq.cli.demo.verdict import Promise, Summary, check, summarize
from fifoq.settings import Settings

WIDTH = 79
"""Columns of the running text: the width of the tables."""


class Report(NamedTuple):
    """The numbers of both runs, and fifoq's promises checked against those of its run."""

    backend: str
    seed: int
    naive: Summary
    fifoq: Summary
    promises: list[Promise]

    @property
    def holds(self) -> bool:
        """Whether the run kept every promise."""
        return all(promise.holds for promise in self.promises)


def report_on(backend: str, seed: int, naive: Run, fifoq: Run) -> Report:
    """Return the report on a run with BackgroundTasks and one with fifoq."""
    summary = summarize(fifoq)
    return Report(backend, seed, summarize(naive), summary, check(summary))


# ---- the report as JSON ----


def as_json(report: Report) -> str:
    """Return the report as one JSON object."""
    return json.dumps(
        {
            "holds": report.holds,
            "backend": report.backend,
            "seed": report.seed,
            "lease": LEASE,
            "promises": [
                {"promise": promise.text, "seen": promise.seen, "holds": promise.holds} for promise in report.promises
            ],
            "naive": _numbers(report.naive),
            "fifoq": _numbers(report.fifoq),
        },
        indent=2,
    )


def _numbers(summary: Summary) -> dict[str, Any]:
    derived = {"moves_per_second": summary.moves_per_second, "speed_up": summary.speed_up}
    return summary._asdict() | derived | {"kill": summary.kill and summary.kill._asdict()}


# ---- the report as text ----


def show(report: Report, console: Console) -> None:
    """Print the report: the moves that were sent, the numbers of both runs, and the promises."""
    console.print(_introduction(report.fifoq), highlight=False)
    console.print()
    console.print(_comparison(report))
    console.print(f"\n[bold]fifoq on {report.backend}[/], checked against the recorded games:", highlight=False)
    console.print(_promises(report.promises, ascii_only=console.options.ascii_only))
    console.print(f"\n{_fill(_note(report.fifoq))}", highlight=False)
    if report.holds:
        console.print(f"\n{conclusion(report)}", highlight=False)


def conclusion(report: Report) -> str:
    """Return the outcome in a sentence."""
    broken = [promise.text for promise in report.promises if not promise.holds]
    if broken:
        return f"fifoq demo: {len(broken)} of {len(report.promises)} promises do not hold: {'; '.join(broken)}."
    wrong = report.naive.games - report.naive.games_right
    speed = f",\nand was {report.fifoq.speed_up:.1f} times as fast as playing one move at a time"
    return (
        f"BackgroundTasks left {wrong:,} of {report.naive.games:,} games with a wrong board. fifoq left none"
        f"{speed if report.fifoq.games > 1 else ''}."
    )


def _introduction(summary: Summary) -> Text:
    moves = f"{summary.moves:,} moves of {summary.games:,} game{'s' if summary.games > 1 else ''}"
    place = "in the server's process, too"
    if summary.kill is not None:
        killed = "1 was" if summary.kill.workers == 1 else f"{summary.kill.workers:,} were"
        place = f"in {WORKERS} worker processes, of which {killed} killed midway and replaced"
    text = Text(
        _fill(
            f"{moves} ({origin(summary.games)}) were sent to a FastAPI app, each move as an HTTP request. A move is a "
            "job: read the game's stored board, work for a random time, store the board after the move. "
            f"BackgroundTasks ran the jobs in the server's process; fifoq ran them {place}."
        )
    )
    text.stylize("bold", 0, len(moves))
    return text


def origin(games: int) -> str:
    """Return which of the recorded games so many games are, and how many times each is played."""
    times, more = divmod(games, RECORDED)
    if not times:
        return f"the first {'' if games == 1 else f'{games} '}of the {RECORDED} of Kasparov against Deep Blue, 1997"
    counts = f"{_times(times)} or {_times(times + 1)}" if more else _times(times)
    return f"the {RECORDED} of Kasparov against Deep Blue, 1997, {counts} each"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _note(summary: Summary) -> str:
    if summary.kill is None:
        return (
            "In memory everything is one process, so no worker was killed. Without --url the jobs are on SQLite, the "
            "workers are separate processes, and one of them is killed."
        )
    return (
        "The moves of a killed worker run again once their leases have ended. The demo's leases last "
        f"{LEASE:g} s, which is short, so that this takes little time; fifoq's default is {Settings().lease:g} s."
    )


def _fill(text: str) -> str:
    return textwrap.fill(text, WIDTH)


_ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("games with the right final board", lambda run: f"{run.games_right:,} of {run.games:,}"),
    ("moves with the right board after", lambda run: f"{run.moves_right:,} of {run.moves:,}"),
    ("moves in order", lambda run: f"{run.in_order:,} of {run.moves:,}"),
    ("moves lost", lambda run: f"{run.lost:,}"),
    ("moves that overlapped in their game", lambda run: f"{run.overlapping:,}"),
    ("moves running at once, at most", lambda run: f"{run.most_at_once:,}"),
    ("moves running at once, on average", lambda run: f"{run.mean_at_once:,.1f}"),
    ("moves per second", lambda run: f"{run.moves_per_second:,.0f}"),
    ("times as fast as one move at a time", lambda run: f"{run.speed_up:,.1f}"),
)


def _comparison(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    wrong = report.naive.games_right < report.naive.games
    table.add_column("")
    table.add_column("BackgroundTasks", justify="right", style="red" if wrong else "")
    table.add_column('fifoq, key="game"', justify="right", style="green" if report.holds else "")
    for label, cell in _ROWS:
        table.add_row(label, cell(report.naive), cell(report.fifoq))
    return table


def _promises(promises: list[Promise], *, ascii_only: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for promise in promises:
        table.add_row(_check_mark(promise, ascii_only=ascii_only), promise.text, Text(promise.seen, style="dim"))
    return table


def _check_mark(promise: Promise, *, ascii_only: bool) -> Text:
    good, bad = ("ok", "NO") if ascii_only else ("✓", "✗")
    return Text(f"  {good}", style="green") if promise.holds else Text(f"  {bad}", style="bold red")


# ---- progress ----


@contextmanager
def progress(console: Console) -> Generator["Bars"]:
    """Show progress bars on `console` if it is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Bars(bars)


class Bars:
    """The progress bars of both runs."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, name: str, total: int) -> ProgressCallbacks:
        """Add the two bars of a run: moves sent, and moves that ended."""
        return ProgressCallbacks(
            sent=self._bar(f"{name}: moves sent", total), ended=self._bar(f"{name}: moves ended", total)
        )

    def print(self, *sentences: str) -> None:
        """Print above the bars, if they are shown."""
        if not self._progress.disable:
            self._progress.console.print(*sentences, sep="\n", highlight=False)

    def _bar(self, title: str, total: int) -> Callable[[int], None]:
        bar = self._progress.add_task(title, total=total)

        def show(count: int) -> None:
            self._progress.update(bar, completed=count)

        return show
