"""Whether fences do what they are for: the larger one is the newer claim, in the store and in the outer world."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from fifoq.testing.history.report import Rule, Violation
from fifoq.testing.history.trace import Attempt, Traces


def fences(traces: Traces) -> Iterator[Violation]:
    """Each claim has a fence of its own, the larger the later, and no effect comes after one with a larger fence."""
    for twin in traces.twins:
        text = f"job {twin.job} of {twin.queue!r}, attempt {twin.attempt}, has fence {twin.fence} of another attempt"
        yield Violation(Rule.FENCE, text, (twin.job,))
    yield from _fences_of_queues(traces)
    for attempts in traces.successions().values():
        yield from _fences_of_succession(attempts)


def _fences_of_queues(traces: Traces) -> Iterator[Violation]:
    """In the store's own time, where it is known: claims follow each other as their fences do."""
    claims = [one for one in traces.attempts() if one.start.claimed_at is not None]
    for before, after in pairwise(claims):
        a, b = before.start, after.start
        if a.queue == b.queue and (a.claimed_at or 0) > (b.claimed_at or 0):
            text = f"{a.queue!r}: job {b.job}, {after}, was claimed before job {a.job}, {before}"
            yield Violation(Rule.FENCE, text, (b.job, a.job))


def _fences_of_succession(attempts: Iterable[Attempt]) -> Iterator[Violation]:
    """
    In one key, by the stamps: starts and effects, in order of time, carry fences that never fall.

    An attempt in doubt may begin late, and try; an effect of a smaller fence than an earlier effect had is always
    wrong: the outer store should have refused it.
    """
    moments = [(one.start.at, 0, one) for one in attempts]
    moments += [(effect.at, 1, one) for one in attempts for effect in one.effects]
    begun = done = -1
    for _, is_effect, attempt in sorted(moments, key=lambda one: one[:2]):
        fence = attempt.start.fence
        late = attempt.lapsed or bool(attempt.doubts)
        newest = done if late else max(begun, done)
        if fence < newest and (is_effect or not late):
            what = "had an effect" if is_effect else "began"
            text = f"job {attempt.start.job}, {attempt}, {what} after fence {newest} of its key had shown itself"
            yield Violation(Rule.FENCE, text, (attempt.start.job,))
        begun, done = max(begun, fence), max(done, fence) if is_effect else done
