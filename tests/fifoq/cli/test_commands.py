"""The command line ends with a sentence and an exit status, never with a traceback."""

import re
import subprocess
import sys

import pytest

from fifoq.extras import install_line

SCRIPT = [sys.executable, "-c", "from fifoq.cli import main; main()"]


def fifoq(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SCRIPT, *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("demo", "--games", "0"), 2, "Invalid value for '--games'"),
        (("demo", "--url", "nowhere://"), 2, "nowhere"),
        (("demo", "--url", "sqlite:///no/such/folder/jobs.db"), 3, "Check that the folder of"),
        (("demo", "--url", "sqlite:///jobs.db?mode=ro"), 2, "takes the parameters synchronous, timeout"),
        (("demo", "--no-such-option"), 2, "No such option"),
        (("no-such-command",), 2, "No such command"),
    ],
)
def test_a_mistake_is_a_sentence_and_no_traceback(arguments: tuple[str, ...], status: int, sentence: str) -> None:
    done = fifoq(*arguments)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("missing", "extra"), [("typer", "cli"), ("rich", "cli"), ("aiosqlite", "sqlite")])
def test_a_missing_extra_is_named(missing: str, extra: str) -> None:
    blocked = f"import sys; sys.modules[{missing!r}] = None; from fifoq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", blocked, "demo"], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert install_line(extra) in done.stderr
    assert re.search(rf'pip install .*"{missing}[^"]*"', done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("worker", "--help"), ()])
def test_the_help_imports_no_command(arguments: tuple[str, ...]) -> None:
    """So it takes a tenth of a second. Each of these modules takes as long again."""
    program = (
        f"import sys; sys.argv[1:] = {arguments!r}\nfrom fifoq.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print([name for name in ('msgpack', 'rich', 'asyncio', 'fifoq.app') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Usage: " in done.stdout
    assert "worker" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("worker", "--concurrency", "0"), "Invalid value for '--concurrency'"),
        (("worker", "--colour"), "No such option: --colour"),
        (("worker",), "No app is given."),
        (("worker", "shop", "--log", "yaml"), "The form of a log is text or json, not 'yaml'."),
        (("worker", "shop", "--health", "everywhere"), "The address for health is HOST:PORT"),
        (("worker", "shop", "--health-file", "/no/such/folder/file"), "The health file /no/such/folder/file cannot be"),
        (("worker", "no_such_shop"), "There is no module 'no_such_shop'"),
    ],
)
def test_a_mistake_of_worker_is_one_line_and_status_2(arguments: tuple[str, ...], sentence: str) -> None:
    done = fifoq(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"fifoq: {sentence}")


def test_debug_shows_the_traceback_of_an_error() -> None:
    for arguments in (("--debug", "worker", "no_such_shop"), ("worker", "no_such_shop", "--debug")):
        done = fifoq(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("Traceback")
        assert done.stderr.splitlines()[-1].startswith("fifoq: There is no module")


def test_reload_without_its_extra_names_it() -> None:
    program = "import sys; sys.modules['watchfiles'] = None; from fifoq.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "worker", "shop", "--reload"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith('fifoq: --reload needs watchfiles: pip install "watchfiles')


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"fifoq \d+\.\d+\.\d+\S*\n", fifoq("--version").stdout)
