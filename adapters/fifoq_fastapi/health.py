"""Whether the service is up: alive while it answers, ready while its queue can be reached and is worked on."""

from collections.abc import Awaitable, Callable

from fastapi import Request

from fifoq import Fifoq
from fifoq.errors import BackendUnavailable
from fifoq_fastapi.lifespan import running


async def health() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "alive"}


def ready_endpoint(tasks: Fifoq) -> Callable[[Request], Awaitable[dict[str, str]]]:
    """Return the route that answers 503 when `tasks` cannot be used."""

    async def ready(request: Request) -> dict[str, str]:
        held = running(request, tasks)
        if not tasks.is_open:
            raise BackendUnavailable("The Fifoq is not open.")
        await tasks.check()
        if held is not None and held.worker is not None and not held.worker.ready:
            raise BackendUnavailable("The embedded worker does not claim.")
        return {"status": "ready"}

    return ready
