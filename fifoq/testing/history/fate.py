"""What became of each job: lost, unexpected, stuck, done twice, settled by the wrong hands."""

from collections.abc import Iterator
from itertools import pairwise

from fifoq.record import State
from fifoq.testing.history.events import Ended, How, Leased, Settled
from fifoq.testing.history.report import Rule, Violation
from fifoq.testing.history.trace import Attempt, Trace, Traces


def lost(traces: Traces) -> Iterator[Violation]:
    """What was acknowledged has ended, and what succeeded has run, with its effect if the tasks have any."""
    effects_known = any(attempt.effects for attempt in traces.attempts())
    for trace in traces.jobs.values():
        if not trace.acknowledged:
            continue
        if trace.final is None and not trace.ended:
            yield _violation(Rule.LOST, trace, "was acknowledged, is not in the store, and nobody saw it end")
        elif trace.final is not None and trace.final.state is State.SUCCEEDED:
            if not trace.attempts:
                yield _violation(Rule.LOST, trace, "is stored as succeeded, but never ran")
            elif effects_known and not any(attempt.effects for attempt in trace.attempts):
                yield _violation(Rule.LOST, trace, "is stored as succeeded, but had no effect")


def unexpected(traces: Traces) -> Iterator[Violation]:
    """What ran, or is in the store, was asked for and not refused."""
    for trace in traces.jobs.values():
        if not trace.attempts and trace.final is None:
            continue
        if not trace.asked:
            yield _violation(Rule.UNEXPECTED, trace, "is there, but nobody enqueued it")
        elif trace.refused:
            yield _violation(Rule.UNEXPECTED, trace, "is there, but its enqueue was refused")
    for event in traces.strays:
        # A job may be claimed and settled without having begun: released by a shutdown, failed for its arguments.
        if not isinstance(event, Settled | Leased):
            what = "end" if isinstance(event, Ended) else "effect"
            text = (
                f"an {what} of job {event.job} of {event.queue!r} has fence {event.fence}, under which it never began"
            )
            yield Violation(Rule.UNEXPECTED, text, (event.job,))


def stuck(traces: Traces) -> Iterator[Violation]:
    """Every attempt ended, and every job, unless it waits behind a halted one of its key."""
    closed = {
        (trace.queue, trace.key)
        for trace in traces.jobs.values()
        if trace.key is not None and trace.final is not None and trace.final.halted
    }
    for trace in traces.jobs.values():
        final = trace.final
        behind = (trace.queue, trace.key) in closed and final is not None and final.state is not State.RUNNING
        if final is not None and not final.state.ended and not behind:
            yield _violation(Rule.STUCK, trace, f"is still {final.state}")
        for attempt in trace.attempts:
            if attempt.end is None and not attempt.cut:
                yield _violation(Rule.STUCK, trace, f"has an {attempt} that began and never ended")


def duplicated(traces: Traces) -> Iterator[Violation]:
    """A job that was done is not done again, unless a fault has put the first time in doubt."""
    for trace in traces.jobs.values():
        for attempt, later in pairwise(trace.attempts):
            if attempt.life == later.life and _is_done(attempt):
                yield _violation(Rule.DUPLICATED, trace, f"ran in {attempt}, which had done it, and again in {later}")
        for attempt in trace.attempts:
            if len(attempt.effects) > 1:
                count = len(attempt.effects)
                yield _violation(Rule.DUPLICATED, trace, f"had {count} effects in one {attempt}")


def settled(traces: Traces) -> Iterator[Violation]:
    """Only the newest claim of a job settles it, a life ends once, and it stays as it was told."""
    for trace in traces.jobs.values():
        yield from _settled_late(trace)
        yield from _ended_twice(trace)


def taken_early(traces: Traces) -> Iterator[Violation]:
    """
    A lease is good to its end: before that, nobody else is given the job, unless its worker had put it back.

    What a worker gets in the last tenth of a lease it hands back unseen, and dies over it as over anything else.
    """
    for trace in traces.jobs.values():
        for attempt, later in pairwise(trace.attempts):
            put_back = attempt.stood is not None or (attempt.end is not None and attempt.end.how is not How.RETURNED)
            if attempt.life != later.life or put_back:
                continue
            sooner = max((one.until - (one.until - one.asked_at) // 10 for one in attempt.leases), default=0)
            if later.start.at < sooner:
                early = (sooner - later.start.at) / 1e6
                yield _violation(
                    Rule.LEASE, trace, f"was given to {later} {early:.1f} ms before the lease of {attempt} could end"
                )


def _settled_late(trace: Trace) -> Iterator[Violation]:
    for attempt, later in pairwise(trace.attempts):
        for one in attempt.settled:
            if one.state is not None and one.asked_at > later.start.at:
                yield _violation(Rule.SETTLE, trace, f"was settled by {attempt} although {later} had begun")


def _ended_twice(trace: Trace) -> Iterator[Violation]:
    ends = [(attempt, one.state) for attempt in trace.attempts if (one := attempt.stood) and one.state is not None]
    ends = [(attempt, state) for attempt, state in ends if state.ended]
    for (attempt, _), (later, _) in pairwise(ends):
        if attempt.life == later.life:
            yield _violation(Rule.SETTLE, trace, f"was ended by {attempt} and again by {later}")
    if ends and trace.final is not None and len(trace.requeues) == ends[-1][0].life:
        attempt, state = ends[-1]
        if trace.final.state is not state:
            yield _violation(Rule.SETTLE, trace, f"{attempt} was told {state}, but it is stored as {trace.final.state}")


def _is_done(attempt: Attempt) -> bool:
    """Whether nothing entitles a later attempt: it returned, or changed the world, and nobody cut it or stopped it."""
    if attempt.in_doubt:
        return False
    if attempt.end is None:
        return bool(attempt.effects)
    return attempt.end.how is How.RETURNED


def _violation(rule: Rule, trace: Trace, text: str) -> Violation:
    return Violation(rule, f"{trace} {text}", (trace.id,))
