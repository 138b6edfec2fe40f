"""A fresh store for each test of an app whose Fifoq stands at the top of a module, however the app opens it."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fifoq import Fifoq
from fifoq.errors import ConfigurationError
from fifoq.testing import drain_sync, fresh_store, fresh_store_fixture
from fifoq_fastapi import lifespan, router

tasks = Fifoq("memory://of-the-app")
fresh = fresh_store_fixture(tasks, autouse=False)


@tasks.task(key="to")
async def mail(to: str) -> str:
    return to


async def _with_await() -> None:
    async with tasks:
        job = await mail.options(id="once", unique="u").enqueue("Ada")
        assert job.created
        await tasks.pause("default")


def _on_a_loop() -> None:
    asyncio.run(_with_await())


def _with_sync_calls() -> None:
    assert mail.options(id="once", unique="u").enqueue_sync("Ada").created
    tasks.pause_sync("default")


def _with_a_client() -> None:
    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose=[mail], public=True))
    with TestClient(app) as client:
        answer = client.post("/tasks/mail", json={"to": "Ada"}, headers={"Idempotency-Key": "once"})
        assert answer.status_code == 202
        assert answer.json()["state"] == "waiting"
        drain_sync(tasks)


TESTS = [_on_a_loop, _with_sync_calls, _with_a_client]


def count() -> int:
    return sum(sum(each[:6]) for each in tasks.stats_sync().values())


@pytest.mark.parametrize("first", TESTS)
@pytest.mark.parametrize("second", TESTS)
def test_a_test_meets_nothing_of_the_one_before(first: Callable[[], None], second: Callable[[], None]) -> None:
    with fresh_store(tasks):
        first()
    with fresh_store(tasks):
        assert count() == 0
        second()
        assert count() == 1
    assert count() == 0  # the app's own store


def test_the_fixture_gives_a_fresh_store_to_each_test(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from fifoq import Fifoq\n\ntasks = Fifoq('memory://')\n\n@tasks.task\nasync def mail(to: str) -> None: ...\n"
    )
    (tmp_path / "conftest.py").write_text(
        "from app import tasks\nfrom fifoq.testing import fresh_store_fixture\n\nfresh = fresh_store_fixture(tasks)\n"
    )
    (tmp_path / "test_app.py").write_text(
        "import pytest\nfrom app import mail, tasks\n\n@pytest.mark.parametrize('n', [1, 2, 3])\ndef test_mail(n):\n"
        "    mail.options(id='once').enqueue_sync('Ada')\n    assert tasks.stats_sync()['default'].waiting == 1\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "3 passed" in ended.stdout, ended.stdout + ended.stderr


def _enqueue_and_fail(task: Any) -> None:
    task.enqueue_sync("dropped")
    raise ZeroDivisionError


def test_the_store_of_before_is_there_again_also_after_an_error() -> None:
    own = Fifoq("memory://")

    @own.task
    async def note(text: str) -> None: ...

    note.enqueue_sync("kept")
    with pytest.raises(ZeroDivisionError), fresh_store(own):
        _enqueue_and_fail(note)
    assert own.stats_sync()["default"].waiting == 1


def test_several_apps_and_any_url() -> None:
    away = Fifoq("redis://127.0.0.1:1")

    @away.task(queue="away")
    async def note(text: str) -> None: ...

    with fresh_store(tasks, away):
        note.enqueue_sync("x")
        mail.enqueue_sync("Ada")
        assert away.stats_sync()["away"].waiting == count() == 1


async def test_an_open_app_keeps_its_store() -> None:
    async with tasks:
        with pytest.raises(ConfigurationError, match="is open, so its store cannot be replaced"), fresh_store(tasks):
            raise AssertionError
    with pytest.raises(ConfigurationError, match="let the app end first"), fresh_store(tasks):
        await tasks.__aenter__()
    await tasks.__aexit__()


def test_a_test_takes_the_fixture_by_name(fresh: None) -> None:
    assert count() == 0
