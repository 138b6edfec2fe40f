"""The Fifoq of an app: found by module[:attr], or a sentence that names what is there."""

import itertools
import sys
from pathlib import Path

import pytest

from fifoq.cli.loading import load
from fifoq.cli.output import USAGE, AppError, status_of
from fifoq.errors import ConfigurationError

NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that no test has imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    return f"app{next(NUMBERS)}"


def write(folder: Path, module: str, text: str) -> None:
    (folder / f"{module}.py").write_text(f"from fifoq import Fifoq\n{text}\n")


@pytest.mark.parametrize(
    ("text", "attr", "found"),
    [
        ("tasks = Fifoq()", "", ":tasks"),
        ("tasks = Fifoq()\nalias = tasks", "", ":tasks"),
        ("a = Fifoq()\nb = Fifoq()", ":b", ":b"),
        ("class box:\n    tasks = Fifoq()", ":box.tasks", ":box.tasks"),
        ("def make():\n    return Fifoq()", ":make()", ":make()"),
    ],
)
def test_it_is_found(tmp_path: Path, module: str, text: str, attr: str, found: str) -> None:
    write(tmp_path, module, text)
    tasks, name = load(module + attr, str(tmp_path))
    assert name == module + found
    assert type(tasks).__name__ == "Fifoq"


@pytest.mark.parametrize(
    ("text", "attr", "sentence"),
    [
        ("", "", "has no Fifoq. Name the one that does"),
        ("a = Fifoq()\nb = Fifoq()", "", "has 2 Fifoqs: a, b. Name one of them: fifoq worker {}:a"),
        ("a = Fifoq()\nb = 3", ":b", "{}:b is an int, not a Fifoq. The module has {}:a."),
        ("def make():\n    return Fifoq()", ":make", "not a Fifoq. If it makes one, write {}:make()."),
        ("a = Fifoq()", ":tasks", "module {} has no 'tasks'. The module has {}:a."),
        ("raise ValueError('no\\nmore')", "", "{} cannot be imported: ValueError: no"),
        ("import no_such_module", "", "{} cannot be imported: it needs the module 'no_such_module'"),
        ("raise SystemExit(4)", "", "{} cannot be imported: it ended the program (status 4)."),
        ("def make():\n    1 / 0", ":make()", "{}:make() failed: ZeroDivisionError: division by zero"),
        ("Fifoq().task(print, name='')", "", "{} cannot be imported: "),
    ],
)
def test_anything_else_is_one_sentence_and_the_lines_of_the_app(
    tmp_path: Path, module: str, text: str, attr: str, sentence: str
) -> None:
    write(tmp_path, module, text)
    with pytest.raises((ConfigurationError, AppError)) as raised:
        load(module + attr, str(tmp_path))
    assert sentence.format(module, module) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert status_of(raised.value) == USAGE
    if isinstance(raised.value, AppError):
        assert f"{module}.py" in raised.value.traceback
        assert "loading.py" not in raised.value.traceback
        assert "importlib" not in raised.value.traceback


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("no_such_app", "There is no module 'no_such_app' in "),
        ("no_such.app", "There is no module 'no_such' in "),
        ("shop.py", "'shop.py' does not name a module. Write it as in an import: fifoq worker shop"),
        ("src/shop.py", "fifoq worker src.shop"),
        (":tasks", "does not name a module"),
    ],
)
def test_a_name_that_leads_to_no_module_is_a_sentence(tmp_path: Path, module: str, app: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(app, str(tmp_path))
    assert sentence in str(raised.value)


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path, module: str) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no folder .*nowhere\. Set --app-dir"):
        load(module, str(tmp_path / "nowhere"))
