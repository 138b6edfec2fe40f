"""The commands, and how they end: a mistake of the user's is a sentence on standard error, never a traceback."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from fifoq.cli.demo.command import demo
from fifoq.cli.demo.http import Refused
from fifoq.cli.demo.stage import ProcessDidNotStart
from fifoq.errors import FifoqError

app = typer.Typer(name="fifoq", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(demo)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fifoq {version('fifoq')}")
        raise typer.Exit


@app.callback()
def fifoq(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Background jobs in order: one queue protocol with in-memory, SQLite and Redis backends."""


def run() -> int:
    """Run the command that the command line names; return the exit status."""
    try:
        return app(standalone_mode=True) or 0
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except FifoqError as error:
        return _say(str(error), 2)
    except (ProcessDidNotStart, Refused, OSError) as error:
        return _say(str(error), 1)


def _say(sentence: str, status: int) -> int:
    print(f"fifoq: {sentence}", file=sys.stderr)
    return status
