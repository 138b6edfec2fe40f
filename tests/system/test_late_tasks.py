"""A task or queue that is registered late is served like any other, with its settings, whenever that is."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifoq import ConfigurationError, Fifoq, Limit, Rate, Retry
from fifoq.limits import GateSettings

QUEUES = ["default", "new"]


class Late:
    """Registers a task with a limit, a queue with a capacity, and enqueues jobs of them."""

    def __init__(self, tasks: Fifoq, queue: str) -> None:
        self.tasks = tasks
        self.queue = queue
        self.now = self.peak = 0

    def register(self) -> None:
        if self.queue != "default":
            self.tasks.queue(self.queue, capacity=7)

        @self.tasks.task(queue=self.queue, limit=2, key="key")
        async def late(key: str) -> str:
            self.now += 1
            self.peak = max(self.peak, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return key

        self.late = late

    async def runs(self) -> None:
        """Its jobs run, and its settings are in the store."""
        texts = [str(n) for n in range(6)]
        jobs = await self.tasks.enqueue_many([self.late.bind(text) for text in texts])
        assert [await job.result(30) for job in jobs] == texts
        assert self.peak == 2
        await self.settings_are_stored()

    async def settings_are_stored(self) -> None:
        store = self.tasks._connection.queue(self.queue)
        async with asyncio.timeout(30):
            while True:
                gates = {gate.task: gate.settings for gate in (await store.stats()).gates}
                if "late" in gates and gates["late"].limit == 2:
                    break
                await asyncio.sleep(0.01)
        if self.queue != "default":
            assert gates[None].capacity == 7
        assert self.queue in self.tasks.queues
        assert self.queue in await self.tasks.stats()


@pytest.fixture
def app(url: str) -> Fifoq:
    tasks = Fifoq(url, grace=5.0)

    @tasks.task
    async def early() -> str:
        return "ran"

    return tasks


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("moment", ["before opening", "open", "lifespan", "at work", "in a job", "in a thread"])
async def test_a_task_runs_with_its_settings_whenever_it_is_registered(app: Fifoq, queue: str, moment: str) -> None:
    late = Late(app, queue)

    @app.task
    async def registers() -> None:
        late.register()

    def reached(now: str) -> None:
        if now == moment:
            late.register()

    app._lifespan = _lifespan(reached)
    reached("before opening")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app)
        reached("open")
        await stack.enter_async_context(app.worker())
        await app.tasks["early"].call()
        reached("at work")
        if moment == "in a job":
            await app.tasks["registers"].call()
        if moment == "in a thread":
            thread = threading.Thread(target=late.register)
            thread.start()
            await asyncio.to_thread(thread.join)
        await late.runs()


def _lifespan(reached: Callable[[str], None]) -> Any:
    @asynccontextmanager
    async def lifespan() -> Any:
        reached("lifespan")
        yield

    return lifespan


@pytest.mark.parametrize("queue", QUEUES)
async def test_while_a_worker_drains(app: Fifoq, queue: str) -> None:
    late = Late(app, queue)

    @app.task
    async def registers() -> None:
        late.register()
        await app.enqueue_many([late.late.bind(str(n)) for n in range(5)])

    async with app:
        await app.tasks["registers"].enqueue()
        await asyncio.wait_for(app.worker().drain(), 60)
        assert (await app.stats())[queue].succeeded == (5 if queue == "new" else 6)
        assert late.peak == 2


@pytest.mark.parametrize("queue", QUEUES)
async def test_while_a_worker_stops_its_jobs_wait_for_the_next_one(app: Fifoq, queue: str) -> None:
    late, stopping = Late(app, queue), asyncio.Event()

    @app.task
    async def registers() -> None:
        stopping.set()
        while app_worker.ready:  # noqa: ASYNC110 - its end has no event
            await asyncio.sleep(0.001)
        late.register()

    async with app:
        app_worker = app.worker()
        async with app_worker:
            await app.tasks["registers"].enqueue()
            await stopping.wait()
        async with app.worker():
            await late.runs()


@pytest.mark.parametrize("queue", QUEUES)
async def test_settings_are_written_without_a_put(app: Fifoq, queue: str) -> None:
    late = Late(app, queue)
    async with app:
        late.register()
        await late.settings_are_stored()


async def test_a_worker_without_tasks_serves_the_first_one(url: str) -> None:
    tasks = Fifoq(url)
    async with tasks, tasks.worker():

        @tasks.task
        async def first() -> int:
            return 1

        assert await first.options(wait=30).call() == 1


async def test_a_worker_of_some_queues_serves_new_tasks_of_these_and_no_others(app: Fifoq) -> None:
    async with app, app.worker(queues=["default"]):
        mine, other = Late(app, "default"), Late(app, "new")
        mine.register()
        await mine.runs()

        @app.task(queue=other.queue)
        async def elsewhere() -> None: ...

        job = await elsewhere.enqueue()
        assert await app.tasks["early"].call() == "ran"
        assert (await job.status()).state.value == "waiting"


async def test_a_function_that_no_child_process_can_find_is_refused_at_its_registration(app: Fifoq) -> None:
    async with app, app.worker():
        with pytest.raises(ConfigurationError, match="inside another function"):

            @app.task(run_in="process")
            def nested() -> None: ...

        assert await app.tasks["early"].call() == "ran"


TASK_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.sampled_from([1, 3, Limit(2, by="number"), [Limit(4), Limit(1, by="number")]]),
        "rate": st.sampled_from(["1000/s", Rate(500, burst=3)]),
        "capacity": st.integers(5, 50),
        "retry": st.sampled_from([1, Retry(attempts=2, backoff=0.001)]),
        "timeout": st.just(20.0),
        "max_crashes": st.just(1),
        "retain": st.just(60.0),
        "priority": st.integers(-9, 9),
        "run_in": st.sampled_from(["auto", "thread"]),
    },
)
QUEUE_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "ordered": st.just(True),
        "limit": st.integers(1, 3),
        "rate": st.just("1000/s"),
        "capacity": st.integers(5, 50),
    },
)


@settings(max_examples=10, deadline=None)
@given(at=st.sampled_from(["before opening", "open", "at work"]), task=TASK_SETTINGS, queue=st.none() | QUEUE_SETTINGS)
async def test_every_setting_of_a_late_task_and_queue_is_in_force(
    at: str, task: dict[str, Any], queue: dict[str, Any] | None
) -> None:
    """`queue`: the settings of a new queue; None: the task is in one that the worker works on."""
    app, name = Fifoq("memory://", grace=5.0), "default" if queue is None else "new"
    app.task(name="early")(_double)

    def register() -> Any:
        if queue is not None:
            app.queue(name, **queue)
        return app.task(queue=name, name="late", **task)(_double)

    late = register() if at == "before opening" else None
    async with app:
        late = register() if at == "open" else late
        async with app.worker():
            late = late or register()
            jobs = await app.enqueue_many([late.bind(number) for number in range(4)])
            assert [await job.result(30) for job in jobs] == [0, 2, 4, 6]
            job = await jobs[0].status()
            assert job.priority == task.get("priority", 0)
            assert job.key == (name if (queue or {}).get("ordered") else None)
        stats = await app._connection.queue(name).stats()
        stored = {gate.task: gate.settings for gate in stats.gates}
        assert stored["late"] == late.definition.gates
        assert queue is None or stored[None] == GateSettings.of(
            queue.get("limit"), queue.get("rate"), queue.get("capacity")
        )


def _double(number: int) -> int:
    return 2 * number
