"""The backend: URLs, names, twins, clocks, and the warnings for operators."""

import logging
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifoq.clock import ProcessClock
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.queue import Backend, Call, Queue
from fifoq.testing import Driver, ManualClock, spec
from fifoq_memory import MemoryBackend, backend


def test_it_is_a_backend_and_its_queues_are_queues() -> None:
    made = MemoryBackend("memory://")
    assert isinstance(made, Backend)
    assert isinstance(made.queue("stats"), Queue)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("memory:", "memory://name"),
        ("memory", "memory://name"),
        ("sqlite:///x.db", "memory://name"),
        ("memory://x?size=3", "query"),
        ("memory://?size=3", "query"),
        ("memory://x#y", "fragment"),
        ("memory:///x", "path"),
        ("memory://x/", "path"),
        ("memory://x:80", "characters"),
        ("memory://a b", "characters"),
        ("memory://" + "x" * 129, "128"),
    ],
)
def test_a_url_that_is_not_understood_is_refused(url: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        MemoryBackend(url)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        MemoryBackend("memory://me:secret@x/y?z=secret")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_a_url_or_a_configuration_error(text: str) -> None:
    try:
        name = backend.read_url("memory://" + text)
    except ConfigurationError:
        return
    assert name == text


def test_a_queue_name_is_checked() -> None:
    with pytest.raises(InvalidArguments):
        MemoryBackend("memory://").queue("{slot}")


async def test_two_without_a_name_share_nothing() -> None:
    first, second = (Putter(MemoryBackend("memory://")) for _ in range(2))
    await first.put()
    assert await first.waiting() == 1
    assert await second.waiting() == 0
    assert await second.backend.queues() == ()


async def test_two_of_one_name_share_all_and_closing_both_loses_nothing() -> None:
    url = f"memory://{uuid4().hex}"
    first, second = (Putter(MemoryBackend(url)) for _ in range(2))
    await first.put()
    assert await second.waiting() == 1
    await first.backend.close()
    await second.backend.close()
    del first, second
    assert await Putter(MemoryBackend(url)).waiting() == 1


async def test_a_twin_shares_the_store_and_the_clock() -> None:
    made = Putter(MemoryBackend("memory://", clock=ManualClock(42)))
    await made.put()
    record = (await made.backend.twin().queue("queue").get(["a"]))[0]
    assert record is not None
    assert record.created_at == 42


def test_a_store_has_one_clock() -> None:
    url, clock = f"memory://{uuid4().hex}", ManualClock()
    MemoryBackend(url, clock=clock)
    MemoryBackend(url, clock=clock)
    MemoryBackend(url)
    with pytest.raises(ConfigurationError, match="clock"):
        MemoryBackend(url, clock=ManualClock())


def test_it_runs_on_when_its_clock_is_set_back(clock: ManualClock) -> None:
    driver = Driver(MemoryBackend("memory://", clock=clock))
    start = clock.now()
    clock.advance(100)
    driver.put(spec(id="a"))
    clock.set(start)
    driver.put(spec(id="b"))
    clock.advance(5)
    driver.put(spec(id="c"))
    at = [driver.record(id).created_at - start for id in "abc"]
    driver.close()
    assert at == [100_000_000, 100_000_000, 105_000_000]


def test_its_own_clock_cannot_be_set_back() -> None:
    made = MemoryBackend("memory://")
    assert isinstance(made._store.clock, ProcessClock)


async def test_a_queue_is_there_after_its_first_put_or_configure() -> None:
    made = MemoryBackend("memory://")
    await made.queue("looked-at").stats()
    await made.queue("b").configure([])
    await Putter(made).put()
    assert await made.queues() == ("b", "queue")
    assert made.queue("b") is made.queue("b")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: None)
    return monkeypatch


async def test_a_single_process_is_warned_of_its_end_only(
    alone: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alone.setenv("WEB_CONCURRENCY", "1")
    made = MemoryBackend("memory://")
    with caplog.at_level(logging.WARNING):
        await made.open()
    assert caplog.messages == []
    (sentence,) = await made.check()
    assert "when this process ends" in sentence


@pytest.mark.parametrize("sign", ["WEB_CONCURRENCY", "a parent process"])
async def test_one_of_several_processes_is_warned_once(
    alone: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sign: str
) -> None:
    if sign == "WEB_CONCURRENCY":
        alone.setenv(sign, "4")
    else:
        alone.setattr("multiprocessing.parent_process", lambda: "parent")
    made = MemoryBackend("memory://")
    with caplog.at_level(logging.WARNING):
        for one in (made, made, made.twin()):
            await one.open()
    (message,) = caplog.messages
    assert message.startswith("memory:// is private to each process")
    assert message in await made.check()


class Putter:
    """Puts one job, on the running loop."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.queue = backend.queue("queue")

    async def put(self) -> None:
        await self.queue.put(Call(uuid4().hex, 1), [[spec(id="a")]])

    async def waiting(self) -> int:
        return (await self.queue.stats()).waiting


@pytest.mark.parametrize("cursor", ["", "k", "12", ":k", "-1:k", "x:k"])
async def test_a_cursor_that_no_page_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidArguments, match="cursor"):
        await MemoryBackend("memory://").queue("queue").blocked_keys(cursor, 10)
