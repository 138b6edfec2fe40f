"""The command line. `main` is the script `fifoq`; it needs the extra `cli`, and names it where it is not installed."""

import sys

_EXTRA = {"typer", "rich"}


def main() -> None:
    """
    Run the command line and exit.

    Status 0: done; 1: a promise or a check failed; 2: a mistake of the user; 3: the store cannot be used; 130:
    interrupted.
    """
    try:
        from fifoq.cli.commands import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        from fifoq.extras import install_line

        sys.exit(f"fifoq: the command line needs {missing}: {install_line('cli')}")
    sys.exit(run())
