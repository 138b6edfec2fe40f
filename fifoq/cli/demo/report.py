"""How the demo tells what it saw: progress on standard error, the verdict on standard output, for people or as JSON."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fifoq.cli.demo.performance import Counter, Performance
from fifoq.cli.demo.tally import Tally, tally
from fifoq.cli.demo.verdict import Claim, claims


class Report(NamedTuple):
    """Both performances, judged."""

    backend: str
    seed: int
    naive: Tally
    fifoq: Tally
    claims: list[Claim]

    @property
    def holds(self) -> bool:
        """Whether every claim was borne out."""
        return all(claim.holds for claim in self.claims)


def judge(backend: str, seed: int, naive: Performance, fifoq: Performance) -> Report:
    """Return the report on a naive performance and fifoq's."""
    seen = tally(fifoq)
    return Report(backend, seed, tally(naive), seen, claims(seen))


def as_json(report: Report) -> str:
    """Return the report for machines: one JSON object."""
    return json.dumps(
        {
            "holds": report.holds,
            "backend": report.backend,
            "seed": report.seed,
            "claims": [{"claim": claim.text, "seen": claim.seen, "holds": claim.holds} for claim in report.claims],
            "naive": _numbers(report.naive),
            "fifoq": _numbers(report.fifoq),
        },
        indent=2,
    )


def show(report: Report, console: Console) -> None:
    """Print the report for people: what was played, what both ways made of it, what that proves."""
    console.print(_STORY.format(seen=report.fifoq), highlight=False)
    console.print(_comparison(report))
    console.print(f"\n[bold]fifoq on {report.backend}[/], its log held against the record:", highlight=False)
    console.print(_verdict(report.claims, ascii_only=console.options.ascii_only))
    if report.fifoq.kill is None:
        console.print(_ALONE, highlight=False)
    if report.holds:
        console.print(f"\n{conclusion(report)}", highlight=False)


_STORY = """\
[bold]{seen.moves:,} moves of {seen.games:,} games[/] (Kasparov against Deep Blue, 1997) came as HTTP
requests to a FastAPI app. Each is a job: read the game's stored board, work for
a random time, store the board after the move.
"""
_ALONE = """
In memory all of this is one process, so no worker was killed. Without --url
workers are processes of their own, on SQLite, and one of them is killed."""


def conclusion(report: Report) -> str:
    """Return the outcome in a sentence."""
    failed = [claim.text for claim in report.claims if not claim.holds]
    if failed:
        return f"fifoq demo: {len(failed)} of {len(report.claims)} claims do not hold: {'; '.join(failed)}."
    wrong = report.naive.games - report.naive.games_right
    speed = f",\nand was {report.fifoq.speed_up:.1f} times as fast as playing one move at a time"
    return (
        f"BackgroundTasks left {wrong:,} of {report.naive.games:,} games with a wrong board. fifoq left none"
        f"{speed if report.fifoq.games > 1 else ''}."
    )


@contextmanager
def progress(console: Console) -> Generator["Bars"]:
    """Show progress bars on `console` if it is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Bars(bars)


class Bars:
    """The progress bars of both performances."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def counter(self, what: str, total: int) -> Counter:
        """Add the two bars of a performance: moves sent, and moves that ended."""
        return Counter(sent=self._bar(f"{what}: moves sent", total), ended=self._bar(f"{what}: moves made", total))

    def say(self, *sentences: str) -> None:
        """Say something above the bars, where they are shown."""
        if not self._progress.disable:
            self._progress.console.print(*sentences, sep="\n", highlight=False)

    def _bar(self, title: str, total: int) -> Callable[[int], None]:
        bar = self._progress.add_task(title, total=total)

        def show(count: int) -> None:
            self._progress.update(bar, completed=count)

        return show


def _numbers(seen: Tally) -> dict[str, Any]:
    derived = {"moves_per_second": seen.moves_per_second, "speed_up": seen.speed_up}
    return seen._asdict() | derived | {"kill": seen.kill and seen.kill._asdict()}


def _comparison(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("BackgroundTasks", justify="right", style="red" if _went_wrong(report.naive) else "")
    table.add_column('fifoq, key="game"', justify="right", style="green" if report.holds else "")
    for label, naive, fifoq in zip(_LABELS, _column(report.naive), _column(report.fifoq), strict=True):
        table.add_row(label, naive, fifoq)
    return table


_LABELS = (
    "games with the right final board",
    "moves with the right board after",
    "moves in order",
    "moves lost",
    "moves while another of the game ran",
    "moves at work at once: most, mean",
    "moves per second",
    "times as fast as one at a time",
)


def _column(seen: Tally) -> tuple[str, ...]:
    return (
        f"{seen.games_right:,} of {seen.games:,}",
        f"{seen.moves_right:,} of {seen.moves:,}",
        f"{seen.in_order:,} of {seen.moves:,}",
        f"{seen.lost:,}",
        f"{seen.overlapping:,}",
        f"{seen.most_at_once}, {seen.mean_at_once:.1f}",
        f"{seen.moves_per_second:,.0f}",
        f"{seen.speed_up:.1f}",
    )


def _went_wrong(seen: Tally) -> bool:
    return seen.games_right < seen.games


def _verdict(claims: list[Claim], *, ascii_only: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for claim in claims:
        table.add_row(_mark(claim, ascii_only=ascii_only), claim.text, Text(claim.seen, style="dim"))
    return table


def _mark(claim: Claim, *, ascii_only: bool) -> Text:
    good, bad = ("ok", "NO") if ascii_only else ("✓", "✗")
    return Text(f"  {good}", style="green") if claim.holds else Text(f"  {bad}", style="bold red")
