"""The registry of a Fifoq: its declared queues and tasks, by name. It has the settings for a backend."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from fifoq.codec import MAX_PAYLOAD
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.limits import GateSettings, Limit, Rate, read_limits
from fifoq.names import check_queue_name
from fifoq.queue import Declare, Setting
from fifoq.task.definition import DEFAULT_QUEUE, TaskDefinition, TaskSettings, define
from fifoq.task.handle import Connection
from fifoq.task.task import Task

AnyTask = Task[..., Any, Any]


class Registry:
    """
    Queues and tasks in the order in which they were declared, from any thread.

    It only grows, at any time: all that need it read it again and again, and none makes a copy.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.tasks: dict[str, AnyTask] = {}
        self.definitions: dict[str, dict[str, TaskDefinition]] = {}
        """By queue, by task: for workers. The same objects for good, so that a worker sees tasks registered later."""
        self.settings: list[tuple[str, Setting]] = []
        """All settings for backends, each with its queue, in the order of their declarations. It only grows."""
        self._queues: dict[str, GateSettings] = {}
        self._ordered: set[str] = set()
        self._max_payload = MAX_PAYLOAD

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of all queues that were declared or are named by a task, in order of name."""
        return tuple(sorted({*tuple(self._queues), *tuple(self.definitions)}))  # a thread may register meanwhile

    def add_queue(
        self,
        name: str,
        *,
        ordered: bool,
        limit: int | Limit | None,
        rate: str | Rate | None,
        capacity: int | None,
    ) -> None:
        """Declare a queue."""
        with self._lock:
            self._check_queue(name, ordered=ordered, limit=limit)
            self._queues[name] = GateSettings.of(limit, rate, capacity)
            if ordered:
                self._ordered.add(name)
            self.settings.append((name, Declare(None, self._queues[name])))

    def add_task(self, function: Callable[..., Any], settings: TaskSettings, connection: Connection) -> AnyTask:
        """Register a task."""
        with self._lock:
            definition = define(function, settings, ordered=settings.get("queue", DEFAULT_QUEUE) in self._ordered)
            if definition.name in self.tasks:
                other = self.tasks[definition.name].function
                raise ConfigurationError(
                    f"Two tasks are named {definition.name!r}: {_full_name(other)} and {_full_name(function)}. "
                    "Name one of them differently: @tasks.task(name='...')."
                )
            definition.signature.limit = self._max_payload
            task: AnyTask = Task(definition, connection)
            self.tasks[definition.name] = task
            self.definitions.setdefault(definition.queue, {})[definition.name] = definition
            self.settings.append((definition.queue, Declare(definition.name, definition.gates)))
            return task

    def definitions_of(self, queues: Sequence[str] | None) -> dict[str, dict[str, TaskDefinition]]:
        """Return the tasks for a worker on these queues. Raises ConfigurationError for a queue without tasks."""
        if queues is None:
            return self.definitions
        unknown = [queue for queue in queues if queue not in self.definitions]
        if unknown:
            known = ", ".join(self.definitions) or "none"
            raise ConfigurationError(f"No task is in queue {unknown[0]!r}; the queues that have tasks are: {known}.")
        return {queue: self.definitions[queue] for queue in queues}

    def resolve(self, max_payload: int) -> None:
        """Resolve the annotations of all tasks, and set the limit of their payloads. Raises ConfigurationError."""
        self._max_payload = max_payload
        for task in tuple(self.tasks.values()):
            task.signature.limit = max_payload
            task.signature.resolve()

    def _check_queue(self, name: str, *, ordered: bool, limit: int | Limit | None) -> None:
        try:
            check_queue_name(name)
        except InvalidArguments as error:
            raise ConfigurationError(str(error)) from error
        if name in self._queues:
            raise ConfigurationError(f"Queue {name!r} is declared twice. Put all its settings into one declaration.")
        if any(each.by is not None for each in read_limits(limit)):
            raise ConfigurationError(f"The limit of queue {name!r} is by an argument; that belongs to a task.")
        if ordered and name in self.definitions:
            self._refuse_late_order(name)

    def _refuse_late_order(self, queue: str) -> None:
        names = ", ".join(self.definitions[queue])
        raise ConfigurationError(
            f"Queue {queue!r} is declared with ordered=True after its tasks ({names}). Declare it before them, so that "
            "their keys can be checked against it."
        )


def _full_name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
