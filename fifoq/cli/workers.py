"""The command `fifoq worker`: loads an app, shows a banner, and works. One process; supervisor.py makes several."""

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version

from fifoq.app import Fifoq
from fifoq.cli.loading import load
from fifoq.cli.log import colours, configure
from fifoq.cli.options import WorkerOptions
from fifoq.clock import SECOND
from fifoq.errors import BackendError
from fifoq.queue import Gate
from fifoq.task.definition import TaskDefinition
from fifoq.worker.worker import Worker, signals

log = logging.getLogger("fifoq.cli")


@dataclass(frozen=True)
class App:
    """An app that is loaded: its Fifoq, and the name of that as module:attr."""

    name: str
    tasks: Fifoq


def worker(options: WorkerOptions) -> int:
    """Run `fifoq worker`; return its exit status."""
    if options.supervised:
        from fifoq.cli.supervisor import supervise

        return supervise(options)
    work_here(options, lambda made: None)
    return 0


def work_here(options: WorkerOptions, made: Callable[[Worker], None]) -> None:
    """Load the app and work in this process, until a signal or, in a burst, until no job is left."""
    tasks, name = load(options.app, options.app_dir)
    app = App(name, tasks)
    configure(options.log, quiet=options.quiet)
    with ExitStack() as stack:
        if options.url is not None:
            stack.enter_context(app.tasks.using(options.url))
        one = app.tasks.worker(
            queues=options.queues, concurrency=options.concurrency, threads=options.threads, grace=options.grace
        )
        made(one)
        asyncio.run(_work(app, one, options))


async def _work(app: App, one: Worker, options: WorkerOptions) -> None:
    working, stopping = asyncio.current_task(), False

    def gently() -> None:
        nonlocal stopping
        stopping = True
        if working is not None:
            working.cancel()

    with signals(gently, one.hurry):
        try:
            async with one:
                await _announce(app, one, options)
                await (one.drained() if options.burst else asyncio.Event().wait())
        except asyncio.CancelledError:
            # `gently` cancels this task: that is an orderly end.
            if not stopping or working is None or working.uncancel() > 0:
                raise


# ---- the banner ----


async def _announce(app: App, one: Worker, options: WorkerOptions) -> None:
    if options.banner and not options.quiet:
        if options.log == "json":
            log.info(
                "fifoq %s, %s: %d processes, %d jobs at a time in each.",
                version("fifoq"),
                app.name,
                options.processes,
                one.settings.concurrency,
            )
        else:
            sys.stderr.write(banner(app, one, options, await _gates(one)))
            sys.stderr.flush()
    if one.store.lower().startswith("memory:"):
        log.warning(
            "%s lives in the memory of this process: no other process can enqueue there%s. To give this worker jobs, "
            "set FIFOQ_URL or --url to the store where they are enqueued, like sqlite:///jobs.db.",
            one.store,
            ", and each worker process has one of its own" if options.processes > 1 else "",
        )


async def _gates(one: Worker) -> dict[tuple[str, str | None], Gate]:
    """Return the gates in force, by queue and task. None if the store does not answer just now."""
    try:
        return {(queue, gate.task): gate for queue, gates in (await one.gates()).items() for gate in gates}
    except BackendError:
        return {}


def banner(app: App, one: Worker, options: WorkerOptions, gates: Mapping[tuple[str, str | None], Gate]) -> str:
    """Return the text about a worker that has opened its store: where it works, on which tasks, how many at a time."""
    strong, plain = ("\033[1m", "\033[0m") if colours(sys.stderr) else ("", "")
    settings = one.settings
    processes = f"{options.processes} processes × " if options.processes > 1 else ""
    lines = [
        f"{strong}fifoq {version('fifoq')}{plain}: {app.name}",
        f"  store   {strong}{one.store}{plain}",
        f"  jobs    {processes}{settings.concurrency} at a time, {settings.threads} of them in threads; "
        f"lease {settings.lease:g} s, grace {settings.grace:g} s",
    ]
    for queue in one.queues:
        lines.append(f"  queue   {queue}{_bounds(gates.get((queue, None)))}")
        ours = sorted((task.definition for task in app.tasks.tasks.values() if task.queue == queue), key=_name)
        width = max((len(each.name) for each in ours), default=0)
        lines += [
            f"    {each.name:<{width}}  {each.promise or 'oldest first'}{_bounds(gates.get((queue, each.name)))}"
            for each in ours
        ]
    if not one.queues:
        lines.append("  no tasks: this worker claims no jobs until one is registered")
    return "\n".join([*lines, ""])


def _name(definition: TaskDefinition) -> str:
    return definition.name


def _bounds(gate: Gate | None) -> str:
    """Return the limits in force at a gate, as the end of a line."""
    if gate is None:
        return ""
    limit, value_limit, capacity, interval, burst = gate.settings
    parts = [
        None if limit is None else f"at most {limit} at a time",
        None if value_limit is None else f"at most {value_limit} at a time per value",
        None if interval is None else _rate(interval) + (f", burst {burst}" if burst > 1 else ""),
        None if capacity is None else f"capacity {capacity:,}",
        "overridden by an operator" if gate.overridden else None,
        "PAUSED" if gate.paused else None,
    ]
    return "".join(f"; {part}" for part in parts if part)


def _rate(interval: int) -> str:
    per_second = SECOND / interval
    if per_second >= 1:
        return f"{per_second:.4g}/s"
    return f"{60 * per_second:.4g}/m" if per_second >= 1 / 60 else f"{3_600 * per_second:.4g}/h"
