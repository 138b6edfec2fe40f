"""Fixtures for workers: a real backend, tasks made from plain functions, and methods to put and read jobs."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fifoq.calls import Caller
from fifoq.errors import BackendUnavailable
from fifoq.job import Job
from fifoq.queue import Backend, Receipt
from fifoq.record import JobSpec, State
from fifoq.task.definition import TaskDefinition
from fifoq.task.signature import Signature
from fifoq.worker import Worker, WorkerSettings, Workplace
from fifoq_memory import MemoryBackend


class Shop:
    """One backend, some tasks on it, and workers made for them."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.tasks: dict[str, dict[str, TaskDefinition]] = {}
        self.resources: Any = None
        self._puts: dict[str, Caller] = {}
        self._count = 0

    def task(
        self, function: Callable[..., Any], *, queue: str = "default", name: str = "", **kwargs: Any
    ) -> TaskDefinition:
        takes_context = next(iter(inspect.signature(function).parameters), "") == "ctx"
        kwargs.setdefault("run_in", "loop" if inspect.iscoroutinefunction(function) else "thread")
        definition = TaskDefinition(
            name or function.__name__,
            queue,
            function,
            Signature(function, takes_context=takes_context),
            takes_context=takes_context,
            **kwargs,
        )
        self.tasks.setdefault(queue, {})[definition.name] = definition
        return definition

    def spec(self, task: TaskDefinition | str, *args: Any, **spec: Any) -> JobSpec:
        name = task if isinstance(task, str) else task.name
        payload = b"" if isinstance(task, str) else task.signature.encode(args, {}).payload
        self._count += 1
        return JobSpec(spec.pop("id", f"{name}-{self._count}"), name, spec.pop("payload", payload), **spec)

    async def put_all(self, specs: Sequence[JobSpec], queue: str = "default") -> None:
        caller = self._puts.setdefault(queue, Caller())
        replies = await caller.send(lambda call: self.backend.queue(queue).put(call, [specs]), 5.0)
        assert all(isinstance(receipt, Receipt) for receipt in replies[0])

    async def put(self, task: TaskDefinition | str, *args: Any, queue: str = "default", **spec: Any) -> str:
        if not isinstance(task, str):
            queue = task.queue
        made = self.spec(task, *args, **spec)
        await self.put_all([made], queue)
        return made.id

    async def job(self, id: str, queue: str = "default") -> Job:
        (record,) = await self.backend.queue(queue).get([id])
        assert record is not None
        return Job(queue, record)

    async def ended(self, id: str, queue: str = "default", timeout: float = 10.0) -> Job:
        record = await self.backend.queue(queue).finished(id, timeout)
        assert record is not None, f"{id} has not ended"
        return Job(queue, record)

    async def states(self, queue: str = "default") -> dict[State, int]:
        stats = await self.backend.queue(queue).stats()
        return {state: getattr(stats, state.value) for state in State if getattr(stats, state.value)}

    async def until(self, condition: Callable[[], Any], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - the condition has no event
                await asyncio.sleep(0.002)

    async def until_job(self, id: str, condition: Callable[[Job], Any], timeout: float = 10.0) -> Job:
        async with asyncio.timeout(timeout):
            while not condition(job := await self.job(id)):  # noqa: ASYNC110 - the job has no event
                await asyncio.sleep(0.002)
            return job

    def worker(self, backend: Backend | None = None, **settings: Any) -> Worker:
        @asynccontextmanager
        async def opening() -> AsyncIterator[Workplace]:
            yield Workplace(backend or self.backend, self.tasks, self.resources)

        settings.setdefault("grace", 5.0)
        return Worker(opening, WorkerSettings(**settings))


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = MemoryBackend("memory://")
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
def shop(backend: Backend) -> Shop:
    return Shop(backend)


class Outages:
    """A backend that can be cut off: each call of its queues, and of its twins', fails or hangs while it is down."""

    def __init__(self, backend: Backend, shared: "Outages | None" = None) -> None:
        self._backend = backend
        self._shared = shared or self
        self.down = False
        self.hangs = False
        self.deaf = False
        """No notification ever arrives."""
        self.calls: list[str] = []

    def twin(self) -> "Outages":
        return Outages(self._backend.twin(), self._shared)

    def queue(self, name: str) -> Any:
        return _Cut(self._backend.queue(name), self._shared)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _Cut:
    def __init__(self, queue: Any, outages: Outages) -> None:
        self._queue = queue
        self._outages = outages
        self.name = queue.name

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._outages.calls.append(verb)
            if self._outages.hangs:
                await asyncio.Event().wait()
            if self._outages.down:
                raise BackendUnavailable("The store was cut off on purpose.")
            if self._outages.deaf and verb == "wait":
                await asyncio.sleep(args[0])
                return False
            return await getattr(self._queue, verb)(*args, **kwargs)

        return call


@pytest.fixture
def outages(shop: Shop) -> Any:
    """The shop's backend, made to fail at will."""
    shop.backend = Outages(shop.backend)  # type: ignore[assignment]
    return shop.backend
