"""
Nothing in an answer to one owner depends on the jobs of another: Bob's answers are the same with and without Ada's.

The exceptions, all of them by intent: jobs that share a key, a limit, a capacity or a unique text wait for each other,
or refuse each other; and times.
"""

import asyncio
import base64
import itertools
import re
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header
from fastapi.security import SecurityScopes

from fifoq import Fifoq, RetryAfter
from fifoq.errors import GiveUp
from fifoq_fastapi import router
from fifoq_fastapi.access import stored_id

Answer = tuple[int, str, list[tuple[str, str]]]
STATES = ["scheduled", "waiting", "running", "succeeded", "failed", "cancelled"]
TASKS = ["greet", "fail", "delay", "hold"]
OF_EACH = 3


async def user(scopes: SecurityScopes, x_user: Annotated[str, Header()]) -> str:
    return x_user


class Shop:
    """An app with owners, and with jobs of them in every state."""

    def __init__(self, url: str) -> None:
        self.tasks = Fifoq(url, grace=0.1)
        self.begun = 0
        self._define()
        self.app = FastAPI()
        self.app.include_router(router(self.tasks, expose="all", auth=user, owner=str))

    def _define(self) -> None:
        @self.tasks.task
        async def greet(name: str = "world") -> str:
            return name

        @self.tasks.task(key="key", retry=1, after_failure="halt", queue="fragile")
        async def fail(key: str) -> None:
            raise GiveUp("no")

        @self.tasks.task(key="key", queue="slow")
        async def delay(key: str) -> None:
            raise RetryAfter(1000)

        @self.tasks.task(key="key")
        async def hold(key: str) -> None:
            self.begun += 1
            await asyncio.Event().wait()

    async def fill(self, client: httpx.AsyncClient, owners: list[str]) -> None:
        """Enqueue jobs of all owners in turn; run them until each is in the state that it stays in."""
        for number in range(OF_EACH):
            for owner in owners:
                for task in TASKS:
                    body = {"name": owner} if task == "greet" else {"key": f"{owner}{number}"}
                    headers = {"x-user": owner, "Idempotency-Key": f"{task}{number}"}
                    assert (await client.post(f"/tasks/{task}", json=body, headers=headers)).status_code == 202
                greet = self.tasks.tasks["greet"]
                for id, options in [("later", {"delay": 1000}), ("gone", {"delay": 1000}), ("behind", {"delay": 1000})]:
                    stored = stored_id(owner, f"{id}{number}")
                    await greet.options(id=stored, owner=owner, **options).enqueue(owner)
                await client.delete(f"/jobs/gone{number}", headers={"x-user": owner})
        while await self._unsettled(len(owners) * OF_EACH):  # noqa: ASYNC110 (a back-off has no event)
            await asyncio.sleep(0.005)

    async def _unsettled(self, of_each: int) -> bool:
        stats = await self.tasks.stats()
        delayed = len(await self.tasks.blocked_keys(queue="slow"))
        return (stats["default"].succeeded, self.begun, stats["fragile"].failed, delayed) != (of_each,) * 4


class Caller:
    """Bob, with all his answers."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.answers: list[tuple[str, Answer]] = []

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"x-user": "bob"} | options.pop("headers", {})
        answer = await self.client.request(method, path, headers=headers, **options)
        shown = sorted((name, value) for name, value in answer.headers.items() if name != "content-length")
        asked = re.sub(r", 'cursor': '.*?'", "", f"{method} {path} {options}")
        self.answers.append((asked, (answer.status_code, timeless(answer.text), shown)))
        return answer

    async def pages(self, path: str, **parameters: Any) -> None:
        cursor: dict[str, str] = {}
        while True:
            page = (await self.ask("GET", path, params=parameters | cursor)).json()
            if page.get("cursor") is None:
                return
            cursor = {"cursor": page["cursor"]}

    async def ask_everything(self) -> None:
        ids = [f"{name}{n}" for name in (*TASKS, "later", "gone") for n in range(OF_EACH)]
        ids += [stored_id("ada", id) for id in ids] + ["nothing"]
        for limit, queue in itertools.product((1, 2, 50), (None, "fragile", "slow")):
            fixed = {"limit": limit} | ({} if queue is None else {"queue": queue})
            await self.pages("/keys/blocked", **fixed)
            for part in [{}, *({"state": each} for each in STATES), *({"task": each} for each in TASKS)]:
                await self.pages("/jobs", **fixed, **part)
            for key in ("ada0", "bob0"):
                await self.pages("/jobs", **fixed, key=key)
        for id in ids:
            await self.ask("GET", f"/jobs/{id}")
            if not id.startswith(("hold", "delay", "later")):
                await self.ask("GET", f"/jobs/{id}/events")
        for path in ("/queues", "/health", "/ready", "/tasks/nothing", "/jobs?cursor=x", "/keys/blocked?cursor=x"):
            await self.ask("GET", path)
        for id in ids:
            for method, path in [("POST", f"/jobs/{id}/requeue"), ("POST", f"/jobs/{id}/skip")]:
                await self.ask(method, path)
            await self.ask("POST", "/tasks/greet", json={"name": "x"}, headers={"Idempotency-Key": id})
            if not id.startswith("hold"):
                await self.ask("DELETE", f"/jobs/{id}")


def timeless(text: str) -> str:
    """Return a text without times. Cursors are opened first: one has the time since which a key is blocked."""
    text = re.sub(r'"cursor":"([^"]+)"', lambda found: base64.urlsafe_b64decode(found[1]).decode(), text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    return re.sub(r"id: [0-9a-f]{24}|(?<!\d)\d{16}(?!\d)", "TIME", text).replace("TIME", "")


async def everything(url: str, owners: list[str]) -> list[tuple[str, Answer]]:
    shop = Shop(url)
    transport = httpx.ASGITransport(shop.app)
    async with (
        shop.tasks,
        shop.tasks.worker(concurrency=100),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        await shop.fill(client, owners)
        bob = Caller(client)
        await bob.ask_everything()
        return bob.answers


async def test_all_answers_to_one_owner_are_the_same_with_and_without_jobs_of_another() -> None:
    alone, beside = await everything("memory://", ["bob"]), await everything("memory://", ["ada", "bob", "ada2"])
    assert [asked for asked, _ in alone] == [asked for asked, _ in beside]
    for (asked, without), (_, with_them) in zip(alone, beside, strict=True):
        assert without == with_them, asked
    text = repr(beside)
    assert "ada" not in re.sub(r"(GET|POST|DELETE) .*?\}'", "", text.replace(stored_id("ada", ""), ""))


@pytest.mark.parametrize("limit", [1, 3])
async def test_pages_of_an_owner_show_every_job_once_while_jobs_are_removed(url: str, limit: int) -> None:
    shop = Shop(url)
    transport = httpx.ASGITransport(shop.app)
    async with shop.tasks, httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        greet = shop.tasks.tasks["greet"]
        jobs = [await greet.options(owner=("ada", "bob")[n % 2], retain=0, id=f"j{n}").enqueue() for n in range(20)]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            params = {"limit": limit} | cursor
            page = (await client.get("/jobs", params=params, headers={"x-user": "bob"})).json()
            seen += [job["id"] for job in page["jobs"]]
            await jobs[int(seen[-1][1:])].cancel()  # the last one shown is kept no longer
            if page["cursor"] is None:
                break
            cursor = {"cursor": page["cursor"]}
            if limit == 1:
                break
    assert seen == [f"j{n}" for n in range(1, 20, 2)][: len(seen)]
    assert len(seen) == (1 if limit == 1 else 10)
