"""
The commands, their options and exit statuses. A mistake ends with one sentence on standard error, and no traceback.

A command's module is imported when it is called: the help takes a tenth of a second, and not the second that all of
fifoq takes.
"""

import sys
from typing import Annotated, Any, NoReturn, cast

import typer

from fifoq.cli.output import DONE, FAILED, INTERRUPTED, USAGE, complain, status_of
from fifoq.errors import FifoqError

app = typer.Typer(name="fifoq", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Url = Annotated[str | None, typer.Option("--url", help="The store. Default: the app's, or FIFOQ_URL.")]
AppDir = Annotated[
    str | None, typer.Option("--app-dir", help="The folder that is first on sys.path. Default: this one.")
]
AppName = Annotated[str | None, typer.Option("--app", help="The app, as module[:attr]. Default: FIFOQ_APP.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No banner, and warnings alone.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_debug = False


def _show_version(given: bool) -> None:
    if given:
        from importlib.metadata import version

        typer.echo(f"fifoq {version('fifoq')}")
        raise typer.Exit


@app.callback()
def fifoq(
    context: typer.Context,
    url: Url = None,
    app_name: AppName = None,
    app_dir: AppDir = None,
    quiet: Quiet = False,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Background jobs in order: one queue protocol with in-memory, SQLite and Redis backends."""
    global _debug  # noqa: PLW0603
    _debug = debug
    context.obj = {"url": url, "app": app_name, "app_dir": app_dir, "quiet": quiet or None, "debug": debug or None}


@app.command()
def worker(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    app_name: Annotated[
        str | None,
        typer.Argument(metavar="APP", help="module[:attr]: the Fifoq, or make() that makes it.", show_default=False),
    ] = None,
    queue: Annotated[list[str] | None, typer.Option(help="A queue to work on; repeatable. Default: all.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Jobs at a time, per process.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of those, so many of functions that are not async.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, max=1000, help="Worker processes, supervised.")] = None,
    grace: Annotated[float | None, typer.Option(min=0, help="Seconds that jobs have to finish at the end.")] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when no job is left.")] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when a Python file changes.")] = False,
    log: Annotated[str | None, typer.Option(metavar="text|json", help="The form of the log.")] = None,
    health: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Serve /live and /ready there.")] = None,
    health_file: Annotated[str | None, typer.Option(help="A file that is touched while jobs are claimed.")] = None,
    give_up: Annotated[int, typer.Option(min=1, help="Failed starts in a row of each process until the end.")] = 5,
    url: Url = None,
    app_dir: AppDir = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """
    Work on the jobs of an app, until SIGTERM or SIGINT.

    The first signal lets jobs finish within the grace, a second one releases them at once.

    Options count more than the environment (FIFOQ_…), which counts more than [tool.fifoq] in pyproject.toml.
    """
    given: dict[str, Any] = {
        "app": app_name,
        "queues": queue or None,
        "concurrency": concurrency,
        "threads": threads,
        "processes": processes,
        "grace": grace,
        "burst": burst,
        "reload": reload,
        "log": log,
        "health": health,
        "health_file": health_file,
        "give_up": give_up,
    }
    flags = _merged(context, given, url=url, app_dir=app_dir, quiet=quiet, debug=debug)
    from fifoq.cli.options import worker_options

    options = worker_options(flags)
    if options.supervised:
        from fifoq.cli.supervisor import supervise

        _end(supervise(options))
    from fifoq.cli.workers import work

    work(options)


@app.command()
def demo(
    context: typer.Context,
    games: Annotated[
        int, typer.Option(min=1, help="How many games to play at the same time; the 6 recorded ones repeat.")
    ] = 60,  # some twenty seconds in all on two cores
    url: Annotated[
        str | None,
        typer.Option(help="The store. Default: FIFOQ_URL, or SQLite in a temporary folder.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the random work times and failures.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the report.")] = False,
) -> None:
    """
    Play games of chess through a server, and check each board.

    Recorded games run through a FastAPI server, with BackgroundTasks and with fifoq.

    Server and workers are separate processes, and one worker is killed midway. In memory (--url memory://) everything
    is one process, and no worker is killed.

    Exit status 0 means that every printed promise was checked and holds.
    """
    from fifoq.cli.demo.client import UnexpectedAnswer
    from fifoq.cli.demo.command import demo as play
    from fifoq.cli.demo.processes import ProcessDidNotStart

    try:
        _end(play(games, url or context.obj["url"], seed, json=json))
    except (ProcessDidNotStart, UnexpectedAnswer) as error:
        _end(complain(error, FAILED, debug=_debug))


def _merged(context: typer.Context, given: dict[str, Any], **own: Any) -> dict[str, Any]:
    """Return the options of a command with the global ones; those after the command's name count more."""
    global _debug  # noqa: PLW0603
    _debug = _debug or own["debug"]
    common = {name: value for name, value in context.obj.items() if value is not None}
    later = {name: value for name, value in {**given, **own}.items() if value not in (None, False)}
    return {**common, **later}


def _end(status: int) -> NoReturn:
    raise typer.Exit(status)


def run() -> int:
    """Run the command of the command line; return the exit status."""
    try:
        return app(args=sys.argv[1:] or ["--help"], standalone_mode=False) or DONE
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except FifoqError as error:
        return complain(error, status_of(error), debug=_debug)
    except OSError as error:
        return complain(error, FAILED, debug=_debug)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("rich", "uvicorn", "fastapi"):
            raise
        from fifoq.extras import install_line

        return complain(f"this command needs {missing}: {install_line('cli')}", USAGE)
    except Exception as error:
        kind, status = type(error).__name__, getattr(error, "exit_code", None)
        if status is not None and hasattr(error, "format_message"):  # of typer, whose parser is not always the same
            sentence = str(cast("Any", error).format_message()).rstrip(".")
            return complain(f"{sentence}. See fifoq --help, or that of the command.", status)
        if kind == "Abort":
            return complain("interrupted", INTERRUPTED)
        raise
