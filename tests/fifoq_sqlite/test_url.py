"""The URL of a store is a path and two options, and every other URL is refused."""

from pathlib import Path

import pytest

from fifoq.errors import ConfigurationError
from fifoq_sqlite import SqliteBackend
from fifoq_sqlite.url import Location


def test_three_slashes_are_a_path_from_here_and_four_are_one_from_the_root() -> None:
    assert Location.parse("sqlite:///jobs.db").path == Path.cwd() / "jobs.db"
    assert Location.parse("sqlite:///data/jobs.db").path == Path.cwd() / "data" / "jobs.db"
    assert Location.parse("sqlite:////var/lib/jobs.db").path == Path("/var/lib/jobs.db")


def test_every_commit_is_flushed_unless_the_url_says_otherwise() -> None:
    assert Location.parse("sqlite:///jobs.db").synchronous == "full"
    assert Location.parse("sqlite:///jobs.db?synchronous=normal&timeout=0.5")[1:] == ("normal", 0.5)


def test_odd_characters_of_a_path_are_percent_encoded() -> None:
    assert Location.parse("sqlite:////tmp/a%20b%3Fc%23d.db").path == Path("/tmp/a b?c#d.db")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:jobs.db",
        "sqlite://jobs.db",
        "sqlite://host/jobs.db",
        "sqlite://user:secret@/jobs.db",
        "sqlite:///folder/",
        "sqlite:///:memory:",
        "sqlite:///jobs.db#x",
        "sqlite:///jobs.db?",
        "sqlite:///jobs.db?mode=memory",
        "sqlite:///jobs.db?vfs=x",
        "sqlite:///jobs.db?synchronous=off",
        "sqlite:///jobs.db?synchronous=FULL",
        "sqlite:///jobs.db?synchronous=full&synchronous=full",
        "sqlite:///jobs.db?synchronous",
        "sqlite:///jobs.db?timeout=0",
        "sqlite:///jobs.db?timeout=nan",
        "sqlite:///jobs.db?timeout=soon",
        "sqlite:///jobs%00.db",
        "sqlite:///jobs%0a.db",
        "sqlite:///jobs%ff.db",
        "mysql:///jobs.db",
    ],
)
def test_any_other_url_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        SqliteBackend(url)
    assert "secret" not in str(error.value)
