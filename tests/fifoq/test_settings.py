"""Settings: an argument, else the environment, else the default; a wrong one is named."""

from typing import Any

import pytest

from fifoq import Fifoq
from fifoq.errors import ConfigurationError
from fifoq.settings import Settings


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = Settings.read({}, {})
    assert settings == Settings("memory://", None, 100, 40, 15.0, 25.0, 10.0, 256 * 1024)


def test_the_environment_counts_more_than_a_default_and_less_than_an_argument() -> None:
    environment = {
        "FIFOQ_URL": "sqlite:///a.db",
        "FIFOQ_QUEUES": "stats, mail,",
        "FIFOQ_CONCURRENCY": "7",
        "FIFOQ_THREADS": "3",
        "FIFOQ_LEASE": "2.5",
        "FIFOQ_SHUTDOWN_GRACE": "0",
        "FIFOQ_PATIENCE": "1",
        "FIFOQ_MAX_PAYLOAD": "1000",
    }
    assert Settings.read({}, environment) == Settings("sqlite:///a.db", ("stats", "mail"), 7, 3, 2.5, 0.0, 1.0, 1000)
    given = {"url": "memory://x", "lease": 9, "queues": ["a"], "concurrency": None}
    settings = Settings.read(given, environment)
    assert (settings.url, settings.lease, settings.queues, settings.concurrency) == ("memory://x", 9.0, ("a",), 7)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.read({}, {"FIFOQ_URL": "", "FIFOQ_LEASE": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("FIFOQ_CONCURRENCY", "many"),
        ("FIFOQ_CONCURRENCY", "0"),
        ("FIFOQ_THREADS", "1.5"),
        ("FIFOQ_LEASE", "0"),
        ("FIFOQ_LEASE", "nan"),
        ("FIFOQ_LEASE", "inf"),
        ("FIFOQ_SHUTDOWN_GRACE", "-1"),
        ("FIFOQ_QUEUES", "a,{b}"),
        ("FIFOQ_URL", "localhost"),
        ("FIFOQ_MAX_PAYLOAD", "1k"),
    ],
)
def test_a_bad_variable_is_named(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"environment variable {variable} is"):
        Settings.read({}, {variable: text})


@pytest.mark.parametrize(
    ("given", "message"),
    [({"lease": 0}, "lease= is"), ({"concurrency": 1.5}, "concurrency= is"), ({"leese": 1}, "no setting 'leese'")],
)
def test_a_bad_argument_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Settings.read(given, {})


async def test_settings_are_read_at_open(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = Fifoq()
    monkeypatch.setenv("FIFOQ_URL", "nowhere://")
    with pytest.raises(ConfigurationError, match="nowhere://"):
        await tasks.__aenter__()
    monkeypatch.setenv("FIFOQ_URL", "memory://")
    async with tasks:
        assert tasks.is_open
