"""Settings: an argument, else the environment, else the default; what is wrong is named, and no password is shown."""

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from fifoq import Fifoq
from fifoq import backends as connect
from fifoq.backends import redacted
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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:////a@b:c/d.db", "sqlite:////a@b:c/d.db"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://user:secret@h/0", "redis://user:***@h/0"),
        ("redis://user:se@c/r?t@h/0", "redis://user:***@h/0"),
        ("redis+cluster://u:secret@h1:1,h2:2/0", "redis+cluster://u:***@h1:1,h2:2/0"),
        ("redis://h/0?password=secret&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h/0?db=1&sentinel_password=secret", "redis://h/0?db=1&sentinel_password=***"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert "secret" not in repr(Fifoq(url))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere://x", r"no backend for nowhere://\. Installed are .*memory://"),
        ("localhost:6379", "given by a URL like"),
        ("rediss+sentinel://h", r'pip install "fifoq\[redis\]"'),
    ],
)
def test_an_unknown_scheme_says_what_there_is_or_what_to_install(
    url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = EntryPoint("memory", "fifoq_memory:MemoryBackend", connect.GROUP)
    monkeypatch.setattr(connect, "entry_points", lambda group: EntryPoints([memory]))
    with pytest.raises(ConfigurationError, match=message):
        connect.connect(url)


@pytest.mark.parametrize(
    ("scheme", "value", "message"),
    [
        ("redis", "no_such_module:Backend", r'because no_such_module is missing. Run: pip install "fifoq\[redis\]"'),
        ("other", "no_such_module:Backend", "Install what no_such_module:Backend needs"),
        ("other", "fifoq:NoSuchThing", "names nothing"),
    ],
)
def test_a_backend_that_cannot_be_loaded_says_what_is_missing(
    scheme: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "entry_points", lambda group: EntryPoints([EntryPoint(scheme, value, connect.GROUP)]))
    with pytest.raises(ConfigurationError, match=message):
        connect.connect(f"{scheme}://h")


def test_the_scheme_is_read_without_regard_to_case() -> None:
    assert type(connect.connect("MEMORY://")).__name__ == "MemoryBackend"


def test_what_a_backend_cannot_parse_is_no_bare_value_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        connect.connect("memory://u:secret@[::1")
    assert "secret" not in str(caught.value)
