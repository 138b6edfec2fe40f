"""A flag counts more than the environment, that more than the nearest file, and that more than the default."""

from pathlib import Path
from typing import Any

import pytest

from fifoq.cli.options import VARIABLES, read_file, worker_options
from fifoq.errors import ConfigurationError

FILE = "app = 'filed'\nurl = 'sqlite:///filed.db'\nqueues = ['a', 'b']\nconcurrency = 5\ngrace = 2.5\nprocesses = 3\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_source_counts_more_than_the_next(tmp_path: Path) -> None:
    (tmp_path / "fifoq.toml").write_text(FILE)
    environment = {"FIFOQ_PROCESSES": "4", "FIFOQ_CONCURRENCY": "6"}
    options = worker_options({"app": "flagged", "concurrency": 7}, environment)
    assert (options.app, options.concurrency, options.processes) == ("flagged", 7, 4)
    # These are read by the Fifoq of the app, from its environment.
    assert environment["FIFOQ_CONCURRENCY"] == "6"
    assert environment["FIFOQ_QUEUES"] == "a,b"
    assert environment["FIFOQ_SHUTDOWN_GRACE"] == "2.5"
    assert environment["FIFOQ_URL"] == "sqlite:///filed.db"
    assert worker_options({"app": "x"}, {}).processes == 3


def test_the_nearest_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.fifoq]\napp = 'outer'\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "pyproject.toml").write_text("[tool.other]\n")
    monkeypatch.chdir(tmp_path / "inner")
    assert worker_options({}, {}).app == "outer"
    (tmp_path / "inner" / "fifoq.toml").write_text("app = 'inner'\n")
    assert worker_options({}, {}).app == "inner"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("quues = 'a'", "sets 'quues'; the keys for fifoq are app, url, queues"),
        ("concurrency = 0", "concurrency in {} is a whole number"),
        ("concurrency = true", "concurrency in {} is a text or a number, not True"),
        ("queues = 'a{b}'", "queues in {} is a list of queue names"),
        ("url = 'jobs.db'", "url in {} is a URL like"),
        ("grace = -1", "grace in {} is"),
        ("processes = 1.5", "processes in {} is a whole number from 1 to 1,000, not '1.5'"),
        ("app = ", "{} cannot be read: "),
    ],
)
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "fifoq.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        read_file(tmp_path)
    assert sentence.format(path) in str(raised.value)


@pytest.mark.parametrize(
    ("flags", "environment", "sentence"),
    [
        ({}, {}, "No app is given"),
        ({"app": "x"}, {"FIFOQ_PROCESSES": "many"}, "FIFOQ_PROCESSES is a whole number from 1 to 1,000"),
        ({"app": "x"}, {"FIFOQ_LOG": "yaml"}, "The form of a log is text or json, not 'yaml'"),
    ],
)
def test_a_wrong_value_is_a_sentence(flags: dict[str, Any], environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        worker_options(flags, environment)


def test_the_page_about_operating_lists_each_key_and_variable() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()
    assert [
        name for name, variable in VARIABLES.items() if f"`{name}`" not in page or f"`{variable}`" not in page
    ] == []
