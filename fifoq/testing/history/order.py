"""Whether jobs entered and ran in order. Fences give the order of claims; stamps only say who asked first."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from fifoq.testing.history.report import Rule, Violation
from fifoq.testing.history.trace import Attempt, Place, Trace, Traces


def order(traces: Traces) -> Iterator[Violation]:
    """Per key: as the producers asked, each job to its end before the next, never back to a smaller seq."""
    for (queue, key), line in traces.lines().items():
        where = f"key {key!r} of {queue!r}"
        yield from _asked_order(line, where)
        attempts = sorted((one for trace in line for one in trace.attempts), key=lambda one: one.start.fence)
        yield from _held(attempts, where)
        yield from _seq_order(attempts, where)


def entry(traces: Traces) -> Iterator[Violation]:
    """Per queue: the entries that the store shows are in the order in which the producers asked."""
    queues: dict[str, list[tuple[int, Place]]] = {}
    for trace in traces.jobs.values():
        place = trace.place()
        if trace.final is not None and trace.final.entry is not None and place is not None:
            queues.setdefault(trace.queue, []).append((trace.final.entry, place))
    for queue, places in queues.items():
        line = [place for _, place in sorted(places)]
        for first, second, why in _inversions(line, ()):
            text = f"job {first.job} entered {queue!r} before job {second.job}, which {why}"
            yield Violation(Rule.ORDER, text, (first.job, second.job))


def overlap(traces: Traces) -> Iterator[Violation]:
    """Within a key, and within a job without one, an attempt begins after all earlier ones are over."""
    for where, attempts in traces.successions().items():
        longest: Attempt | None = None
        for attempt in sorted(attempts, key=lambda one: one.start.at):
            if longest is not None and attempt.start.at < longest.until and not attempt.late:
                text = f"{where}: {_name(attempt)} began while {_name(longest)} ran"
                yield Violation(Rule.OVERLAP, text, (attempt.start.job, longest.start.job))
            longest = attempt if longest is None or attempt.until > longest.until else longest


def _asked_order(line: Sequence[Trace], where: str) -> Iterator[Violation]:
    begun = [(trace.attempts[0].start.fence, trace) for trace in line if trace.attempts]
    began = [place for _, trace in sorted(begun, key=lambda one: one[0]) if (place := _in_line(trace))]
    waiting = [trace for trace in line if not trace.attempts and trace.acknowledged and not _is_over(trace)]
    pending = [place for trace in waiting if (place := _in_line(trace))]
    for first, second, why in _inversions(began, pending):
        text = f"{where}: job {first.job} began before job {second.job}, which {why}"
        yield Violation(Rule.ORDER, text, (first.job, second.job))


def _in_line(trace: Trace) -> Place | None:
    place = trace.place()
    return place if place is not None and not place.delayed else None


def _is_over(trace: Trace) -> bool:
    """Whether a job without an attempt has left the line: cancelled, or its attempts died before they could say."""
    return trace.final is not None and trace.final.state.ended


def _inversions(line: Iterable[Place], pending: Iterable[Place]) -> Iterator[tuple[Place, Place, str]]:
    """
    Yield (ahead, behind, why) for each place of `line` that should have been ahead of an earlier one.

    `pending` come behind all of the line, in no order among themselves. One pass: of all that is ahead, only the one
    asked for last, and each producer's newest, can be wrong first.
    """
    newest: Place | None = None
    calls: dict[str, Place] = {}

    def find(place: Place) -> Iterator[tuple[Place, Place, str]]:
        call = calls.get(place.producer)
        if newest is not None and place.known_at < newest.asked_at:
            yield newest, place, "was acknowledged before the other was asked for"
        elif call is not None and place.number < call.number:
            yield call, place, f"producer {place.producer} had asked for before"

    for place in line:
        yield from find(place)
        newest = place if newest is None or place.asked_at > newest.asked_at else newest
        call = calls.get(place.producer)
        calls[place.producer] = place if call is None or place.number > call.number else call
    for place in pending:
        yield from find(place)


def _held(attempts: Sequence[Attempt], where: str) -> Iterator[Violation]:
    """A retry holds the line: between the first and the last attempt of a job, nobody else's."""
    left: dict[tuple[str, int], Attempt] = {}
    for before, after in pairwise(attempts):
        if _life(before) == _life(after):
            continue
        left[_life(before)] = after
        overtaker = left.get(_life(after))
        if overtaker is not None:
            text = f"{where}: job {after.start.job} had to run again, but {_name(overtaker)} went first"
            yield Violation(Rule.ORDER, text, (after.start.job, overtaker.start.job))


def _seq_order(attempts: Sequence[Attempt], where: str) -> Iterator[Violation]:
    placed = [one for one in attempts if one.start.seq is not None]
    for before, after in pairwise(placed):
        if (before.start.seq or 0) > (after.start.seq or 0):
            text = f"{where}: {_name(before)} with seq {before.start.seq} was claimed before "
            text += f"{_name(after)} with seq {after.start.seq}"
            yield Violation(Rule.ORDER, text, (before.start.job, after.start.job))


def _life(attempt: Attempt) -> tuple[str, int]:
    return attempt.start.job, attempt.life


def _name(attempt: Attempt) -> str:
    return f"job {attempt.start.job}, {attempt},"
