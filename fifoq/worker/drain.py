"""When a worker that drains its queues may go: what is left cannot run, or only later because somebody said so."""

import asyncio
import time

from fifoq.clock import SECOND
from fifoq.queue import Stats
from fifoq.record import Filter
from fifoq.state import State
from fifoq.worker.desk import Desk
from fifoq.worker.shift import Shift

PAUSE = 0.1
"""Seconds between two looks at what the worker waits for."""
FOREVER = float("inf")


async def drained(shift: Shift) -> None:
    """Return when nothing runs, may run, waits for a token or backs off."""
    while True:
        await shift.until(lambda: shift.idle, FOREVER)
        before = shift.claims.claimed
        over = await _nothing_to_claim(shift) and not any([await _goes_on(shift, desk) for desk in shift.desks])
        # What was claimed while the store looked is running, and the look may not have seen it.
        if over and shift.claims.claimed == before:
            return
        await asyncio.sleep(PAUSE)


async def _nothing_to_claim(shift: Shift) -> bool:
    """Ask once more, now that all is still: what was settled last may have opened something after the last claim."""
    now, before = time.monotonic(), shift.claims.claimed
    shift.claims.ask_all()
    await shift.until(lambda: shift.idle and all(desk.empty_at >= now for desk in shift.desks), FOREVER)
    return shift.claims.claimed == before


async def _goes_on(shift: Shift, desk: Desk) -> bool:
    try:
        stats = await desk.queue.stats()
        if stats.running or not stats.waiting:
            return stats.running > 0
        return _waits_for_token(shift, desk, stats) or await _backs_off(desk)
    except Exception as error:
        desk.outage.failed(error)
        return True


def _waits_for_token(shift: Shift, desk: Desk, stats: Stats) -> bool:
    """
    Whether what comes next with time may be a token: no token is further away than an interval of its rate.

    As long as a claim is on its way, or went unanswered, nobody knows what comes next: it may be one.
    """
    intervals = [gate.settings.interval for gate in stats.gates if not gate.paused]
    longest = max((interval for interval in intervals if interval is not None), default=None)
    if longest is None:
        return False
    unknown = shift.claims.in_flight is not None or desk.outage.ongoing
    return unknown or desk.timer - time.monotonic() <= longest / SECOND


async def _backs_off(desk: Desk) -> bool:
    """Whether a job that was tried before waits for its time. One that never was is delayed, and not waited for."""
    cursor: int | None = 0
    while cursor is not None:
        page = await desk.queue.find(Filter(state=State.WAITING), cursor, 1_000)
        if any(record.due_at is not None and record.started_at is not None for record in page.records):
            return True
        cursor = page.cursor
    return False
