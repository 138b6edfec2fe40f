"""
Starts the processes of a chaos test, quickly: it imports all once, and forks one for each line it reads.

    python -m tests.system.chaos.programs.fork_server URL FOLDER

It reads orders as JSON, and prints as JSON what became of them: `started`, `died`, and what the children `said`. The
histories are written to FOLDER.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from fifoq import Fifoq, backends
from tests.system.chaos.programs.workload import ProcessSpec, Workload


def report(message: dict[str, Any]) -> None:
    # One write of less than a pipe takes at once: children's lines do not mix.
    os.write(1, json.dumps({**message, "pid": os.getpid(), "at": time.monotonic_ns()}).encode() + b"\n")


def live(workload: Workload, spec: ProcessSpec) -> int:
    """In a child: do what was ordered; return the exit status."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        workload.become(spec)
        asyncio.run(workload.work() if spec.kind == "worker" else workload.produce())
    except BaseException as error:
        report(
            {"event": "said", "name": spec.name, "what": "raised", "error": type(error).__name__, "text": str(error)}
        )
        traceback.print_exc()
        return 1
    return 0


def _die_with_parent() -> None:
    """A test that is ended from outside must leave nothing behind. Elsewhere than on Linux it may."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class ForkServer:
    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._names: dict[int, str] = {}

    def start(self, spec: ProcessSpec) -> None:
        pid = os.fork()
        if not pid:
            os.setpgid(0, 0)
            os._exit(live(self._workload, spec))
        self._names[pid] = spec.name
        report({"event": "started", "name": spec.name, "child": pid})

    def look(self) -> None:
        while self._names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            report({"event": "died", "name": self._names.pop(pid), "code": os.waitstatus_to_exitcode(status)})

    def end(self) -> None:
        for pid in self._names:
            os.kill(pid, signal.SIGKILL)


def warm_up(url: str) -> None:
    """Do all once that is slow the first time, and leave no thread and no connection behind."""
    tasks = Fifoq("memory://")

    @tasks.task
    async def nothing() -> None: ...

    async def main() -> None:
        async with tasks:
            await nothing.enqueue()
            await tasks.worker().drain()

    asyncio.run(main())
    backends.connect(url)
    gc.collect()
    gc.freeze()


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    workload = Workload(url, folder)
    workload.report = report
    warm_up(url)
    server = ForkServer(workload)
    with contextlib.suppress(BrokenPipeError):
        serve(server)
    server.end()


def serve(server: ForkServer) -> None:
    rest = b""
    while True:
        if select.select([0], [], [], 0.002)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                server.start(ProcessSpec(**json.loads(line)))
        server.look()


main()
