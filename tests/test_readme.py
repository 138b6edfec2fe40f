"""The first page keeps its word: what it shows is short, runs as it stands, and does what it says."""

import asyncio
import os
import re
import socket
import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
[ROUTES] = re.findall(r"^```py\n(.*?)^```$", QUICKSTART, re.MULTILINE | re.DOTALL)
SCREEN = 60
"""Lines that a first look shows, or little more."""


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The README's app, with the two lines that the quickstart adds to it, as a module."""
    monkeypatch.delenv("FIFOQ_URL", raising=False)
    module = types.ModuleType("readme_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(EXAMPLE, "README.md", "exec"), module.__dict__)
    exec(compile(ROUTES, "quickstart.md", "exec"), module.__dict__)
    return module


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await running


async def finish(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    """The job, once it has ended: asked for as the quickstart says."""
    async with asyncio.timeout(30):
        while True:
            answer = await client.get(f"/queue/jobs/{id}")
            assert answer.status_code == 200, answer.text
            if answer.json()["state"] not in ("waiting", "running"):
                return answer.json()
            await asyncio.sleep(0.01)


def test_the_first_screen_shows_the_two_commands_the_example_and_the_promises() -> None:
    first = "\n".join(README.splitlines()[:SCREEN])
    for command in ["./demo", "./check"]:
        assert f"$ {command}" in first
        assert os.access(ROOT / command, os.X_OK)
    assert EXAMPLE in README
    assert README.index("| **Order** |") < len(first)


def test_the_example_has_fifteen_lines_at_most() -> None:
    assert len(EXAMPLE.splitlines()) <= 15


async def test_the_example_answers_at_once_and_stores_the_last_goal(example: types.ModuleType) -> None:
    async with serving(example.__dict__["app"]) as client:
        calls = [(match, goals) for goals in range(1, 31) for match in ("m1", "m2")]
        answers = [await client.post(f"/matches/{match}", params={"goals": goals}) for match, goals in calls]
        assert {answer.status_code for answer in answers} == {202}
        jobs = [await finish(client, answer.json()["job"]) for answer in answers]
        assert {job["state"] for job in jobs} == {"succeeded"}
        assert example.__dict__["scores"] == {"m1": 30, "m2": 30}


async def test_an_old_score_never_overwrites_a_newer_one(example: types.ModuleType) -> None:
    """Saving is slow and fails at times, as on the README's word it may: each score is still stored after the last."""
    stored: list[int] = []

    class Scores(dict[str, int]):
        bad_moments = iter([True, False, True])

        def __setitem__(self, match: str, goals: int) -> None:
            if next(self.bad_moments, False):
                raise ConnectionError("the database has a bad moment")
            stored.append(goals)

    example.__dict__["scores"] = Scores()
    async with serving(example.__dict__["app"]) as client:
        answers = [await client.post("/matches/m1", params={"goals": goals}) for goals in range(1, 6)]
        job = await finish(client, answers[-1].json()["job"])
    assert job["state"] == "succeeded"
    assert stored == [1, 2, 3, 4, 5]
