"""The shutdown of real server processes: streams and waits end, awaited results arrive, jobs keep their place."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from fifoq import Fifoq, State
from fifoq.job import Job

HERE = Path(__file__).parent
TIMEOUT = 40.0


class Service:
    """A running uvicorn: its client, its process and its log."""

    def __init__(self, client: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
        self.client = client
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def answers(self) -> None:
        """Wait until it answers. With several processes it logs its address before any of them accepts connections."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                with suppress(httpx.TransportError):
                    await self.client.get("/health")
                    return
                await asyncio.sleep(0.05)

    async def post(self, task: str, **arguments: object) -> str:
        answer = await self.client.post(f"/tasks/{task}", json=arguments)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    async def runs(self, *ids: str) -> None:
        for id in ids:
            while (await self.client.get(f"/jobs/{id}")).json()["state"] != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def logs(self, text: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            while text not in self.log:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def end(self) -> float:
        """Wait for the end of the process, and return the seconds until then."""
        begun = time.monotonic()
        await asyncio.to_thread(self.process.wait, TIMEOUT)
        return time.monotonic() - begun


Start = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def start(url: str, tmp_path: Path) -> Start:
    """Run `uvicorn service:app` inside a `with` block."""

    @asynccontextmanager
    async def starting(*options: str, grace: float = 1.0) -> AsyncIterator[Service]:
        log = tmp_path / "log.txt"
        files = {"NOTES": str(tmp_path / "notes.txt"), "RELEASE": str(tmp_path / "release")}
        environment = {"FIFOQ_URL": url, "FIFOQ_SHUTDOWN_GRACE": str(grace), **files}
        command = [sys.executable, "-m", "uvicorn", "service:app", "--app-dir", str(HERE / "programs"), "--port", "0"]
        with uvicorn([*command, *options], environment, log) as process:
            address = await asyncio.to_thread(address_in, log, process)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT, limits=limits) as client:
                service = Service(client, process, log)
                await service.answers()
                yield service

    return starting


@contextmanager
def uvicorn(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as stream:
        # With its own process group, uvicorn and its children can be killed as a whole.
        process = subprocess.Popen(command, env=os.environ | environment, stderr=stream, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"running on (http://\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"uvicorn did not start: {log.read_text()}")


async def stored_jobs(url: str, *ids: str) -> list[Job]:
    """Read jobs from the store after the process has ended."""
    async with (tasks := app_without_tasks(url)):
        return [await tasks.get(id) for id in ids]


def app_without_tasks(url: str) -> Fifoq:
    tasks = Fifoq(url)
    tasks.queue("default")
    return tasks


async def read_events(lines: AsyncIterator[str]) -> list[str]:
    return [line async for line in lines if line.startswith("event")]


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_streams_and_waits_and_jobs_within_the_grace(
    start: Start, url: str, signal_: signal.Signals
) -> None:
    async with start(grace=1.0) as service:
        ids = [await service.post("hold", seconds=60), await service.post("hold", seconds=60)]
        soon = await service.post("hold", seconds=0.7)
        await service.runs(*ids)
        async with service.client.stream("GET", f"/jobs/{ids[0]}/events") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            waiting = asyncio.create_task(service.client.get(f"/jobs/{ids[1]}", params={"wait": 30}))
            await asyncio.sleep(0.1)
            service.process.send_signal(signal_)
            ended = asyncio.create_task(service.end())
            await read_events(lines)
            assert (await waiting).json()["state"] == "running"
            assert not ended.done(), "the jobs have their grace after that"
            seconds = await ended
    assert seconds < 1.0 + 1.0 + BUSY, service.log
    assert service.process.returncode in (0, -signal_), service.log
    if not url.startswith("memory"):
        held, other, done = await stored_jobs(url, *ids, soon)
        assert [(job.state, job.attempt, job.crashes) for job in (held, other)] == [(State.WAITING, 0, 0)] * 2
        assert done.state is State.SUCCEEDED, "it finished within the grace"


async def test_a_thread_that_cannot_be_stopped_does_not_hold_up_the_end(start: Start, url: str) -> None:
    async with start(grace=0.5) as service:
        id = await service.post("hold_thread", seconds=60)
        await service.runs(id)
        service.process.send_signal(signal.SIGTERM)
        assert await service.end() < 0.5 + 1.0 + BUSY, service.log
    if not url.startswith("memory"):
        (job,) = await stored_jobs(url, id)
        assert (job.state, job.attempt) == (State.WAITING, 0)


async def test_results_that_routes_await_still_arrive_after_the_signal(start: Start, tmp_path: Path) -> None:
    async with start(grace=0.1) as service:
        crowd = [asyncio.create_task(service.client.get("/call-until-released")) for _ in range(20)]
        while (await service.client.get("/queues")).json()["queues"][0]["running"] < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)
        await service.logs("Waiting for connections to close")
        (tmp_path / "release").touch()
        answers = await asyncio.gather(*crowd)
        assert {answer.json() for answer in answers} == {"held"}
        await service.end()


@pytest.mark.parametrize("when", ["while a request is open", "in the grace"])
async def test_a_second_ctrl_c_ends_at_once_and_loses_nothing_but_leases(start: Start, url: str, when: str) -> None:
    async with start(grace=600.0) as service:
        ids = [await service.post("hold", seconds=600) for _ in range(5)]
        await service.runs(*ids)
        waiting = []
        if when == "while a request is open":
            waiting.append(asyncio.create_task(service.client.get("/call/60")))
            while (await service.client.get("/queues")).json()["queues"][0]["running"] < 6:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        service.process.send_signal(signal.SIGINT)
        await service.logs("Waiting for connections to close" if waiting else "Waiting for application shutdown")
        service.process.send_signal(signal.SIGINT)
        assert await service.end() < 2.0 + BUSY, service.log
        await asyncio.gather(*waiting, return_exceptions=True)
    if not url.startswith("memory"):
        jobs = await stored_jobs(url, *ids)
        assert {job.state for job in jobs} <= {State.WAITING, State.RUNNING}, "nothing failed, nothing was cancelled"
        if when == "in the grace":
            assert {(job.state, job.attempt) for job in jobs} == {(State.WAITING, 0)}


async def test_several_processes_share_a_store_in_order_and_memory_warns(
    start: Start, url: str, tmp_path: Path
) -> None:
    lines, numbers = 8, 12
    async with start("--workers", "2") as service:
        if url.startswith("memory"):
            await service.logs("private to each process")
            return

        async def push(line: int) -> list[str]:
            # Each line has its own connection: the processes take turns in accepting connections.
            async with httpx.AsyncClient(base_url=service.client.base_url, timeout=TIMEOUT) as client:
                answers = [
                    await client.post("/tasks/note", json={"line": f"l{line}", "number": number})
                    for number in range(numbers)
                ]
            return [answer.json()["id"] for answer in answers]

        ids = await asyncio.gather(*(push(line) for line in range(lines)))
        for id in (line[-1] for line in ids):
            assert (await service.client.get(f"/jobs/{id}", params={"wait": 30})).json()["state"] == "succeeded"
        service.process.send_signal(signal.SIGTERM)
        await service.end()
    notes = [note.split() for note in (tmp_path / "notes.txt").read_text().splitlines()]
    for line in range(lines):
        assert [int(number) for name, number, _ in notes if name == f"l{line}"] == list(range(numbers))
    assert "Traceback" not in service.log


BUSY = 3.0
"""Extra seconds for a busy machine; a process that hangs takes much longer."""
