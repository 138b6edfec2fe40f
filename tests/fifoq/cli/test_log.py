"""The log of the command: JSON lines with the fields of docs/logging.md; a program's own configuration stays."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fifoq.cli.log import FIELDS, SHOWN_BY_THE_BANNER, JsonLines, configure
from fifoq.worker.log import Event


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, whose handlers are restored after the test."""
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = before


def test_a_line_of_json_has_time_level_message_fields_and_traceback() -> None:
    logger = logging.getLogger("shop")
    try:
        raise ValueError("no\nmore")
    except ValueError as error:
        record = logger.makeRecord("shop", logging.ERROR, "f", 1, "two\n%s", ("lines",), (type(error), error, None))
    record.queue, record.job, record.other = "mail", "j1", "x"
    text = JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", line.pop("ts"))
    assert line.pop("traceback").endswith("ValueError: no\nmore")
    assert line.pop("pid") == record.process
    assert line == {"level": "ERROR", "logger": "shop", "msg": "two\nlines", "queue": "mail", "job": "j1"}


def test_each_field_of_the_page_about_logging_is_in_the_lines() -> None:
    page = (Path(__file__).parents[3] / "docs" / "logging.md").read_text()
    [table] = re.findall(r"^## Fields$(.*?)^All lines", page, re.DOTALL | re.MULTILINE)
    listed = [
        name for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert set(listed) == set(FIELDS)
    assert set(SHOWN_BY_THE_BANNER) <= set(Event)


def test_the_configuration_of_a_program_stays_unless_a_form_is_asked_for(root: logging.Logger) -> None:
    own = logging.NullHandler()
    root.handlers[:] = [own]
    configure(None, quiet=False)
    assert root.handlers == [own]
    configure("json", quiet=True)
    assert [type(handler.formatter) for handler in root.handlers] == [JsonLines]
    assert root.level == logging.WARNING
