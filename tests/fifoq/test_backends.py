"""A backend is made from a URL, found by its scheme; no error shows a password."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from fifoq import Fifoq, backends
from fifoq.errors import ConfigurationError
from fifoq.url import redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:////a@b:c/d.db", "sqlite:////a@b:c/d.db"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:secret@h:6379/0", "redis://***@h:6379/0"),
        ("redis://user:secret@h/0", "redis://***@h/0"),
        ("redis://user:se@c/r?t@h/0", "redis://***@h/0"),
        ("redis+cluster://u:secret@h1:1,h2:2/0", "redis+cluster://***@h1:1,h2:2/0"),
        ("redis://h/0?password=secret&db=1", "redis://h/0?password=***"),
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
        ("rediss+sentinel://h", r'Install fifoq again, and then: pip install .*"redis\[hiredis\]'),
    ],
)
def test_an_unknown_scheme_is_refused_with_the_known_ones_or_the_extra_to_install(
    url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = EntryPoint("memory", "fifoq_memory:MemoryBackend", backends.GROUP)
    monkeypatch.setattr(backends, "entry_points", lambda group: EntryPoints([memory]))
    with pytest.raises(ConfigurationError, match=message):
        backends.connect(url)


@pytest.mark.parametrize(
    ("scheme", "value", "message"),
    [
        ("redis", "no_such_module:Backend", r'because no_such_module is missing. Run: pip install .*"redis\[hiredis\]'),
        ("other", "no_such_module:Backend", "Install what no_such_module:Backend needs"),
        ("other", "fifoq:NoSuchThing", "names nothing"),
    ],
)
def test_a_backend_that_cannot_be_loaded_names_the_missing_package(
    scheme: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        backends, "entry_points", lambda group: EntryPoints([EntryPoint(scheme, value, backends.GROUP)])
    )
    with pytest.raises(ConfigurationError, match=message):
        backends.connect(f"{scheme}://h")


def test_the_scheme_is_read_without_regard_to_case() -> None:
    assert type(backends.connect("MEMORY://")).__name__ == "MemoryBackend"


def test_a_url_that_a_backend_cannot_parse_is_no_bare_value_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        backends.connect("memory://u:secret@[::1")
    assert "secret" not in str(caught.value)
