"""The commands and their exit statuses. A user's mistake ends with one sentence on standard error, and no traceback."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from fifoq.cli.demo.client import UnexpectedAnswer
from fifoq.cli.demo.command import demo
from fifoq.cli.demo.processes import ProcessDidNotStart
from fifoq.errors import FifoqError

app = typer.Typer(name="fifoq", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(demo)


def _show_version(given: bool) -> None:
    if given:
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
    """Run the command of the command line; return the exit status."""
    try:
        return app(standalone_mode=True) or 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except FifoqError as error:
        return _fail(str(error), 2)
    except (ProcessDidNotStart, UnexpectedAnswer, OSError) as error:
        return _fail(str(error), 1)


def _fail(sentence: str, status: int) -> int:
    print(f"fifoq: {sentence}", file=sys.stderr)
    return status
