"""A ready set: what may be claimed behind one gate, the smallest score first. It knows no gate and no state."""

from heapq import heapify, heappop, heappush

from fifoq_memory.job import Job

END = 1 << 62
"""Above every score."""
SLACK = 64
"""So much garbage is never worth a compaction."""


class Ready:
    """
    A map of score to job that gives its smallest.

    `members` is the truth; what is in no `members` is garbage, dropped when it surfaces or outnumbers the rest.
    Scores mostly come in ascending order: those are kept as a sorted `run`, read from `start`, at O(1) each, however
    many wait; the others go into the heap `rest`. (A heap alone was 1 µs slower per claim with a million jobs in it
    than with a thousand.)
    """

    __slots__ = ("members", "rest", "run", "start")

    def __init__(self) -> None:
        self.members: dict[int, Job] = {}
        self.run: list[int] = []
        self.start = 0
        self.rest: list[int] = []

    def add(self, score: int, job: Job) -> None:
        self.members[score] = job
        run = self.run
        if not run or score > run[-1]:
            run.append(score)
        else:
            heappush(self.rest, score)

    def discard(self, score: int) -> None:
        """Take it out, if it is in."""
        if self.members.pop(score, None) is not None and self.size() > 2 * len(self.members) + SLACK:
            self._compact()

    def first(self) -> int | None:
        """The smallest score."""
        members, run, rest = self.members, self.run, self.rest
        if not members:
            return None
        while run and run[self.start] not in members:
            self._step()
        while rest and rest[0] not in members:
            heappop(rest)
        if run and (not rest or run[self.start] < rest[0]):
            return run[self.start]
        return rest[0]

    def pop(self, bound: int = END) -> Job | None:
        """Take out the job with the smallest score, if that is below `bound`."""
        members, run, rest = self.members, self.run, self.rest
        while members:
            if run and (not rest or run[self.start] < rest[0]):
                score = run[self.start]
                if score >= bound:
                    return None
                self._step()
            else:
                score = rest[0]
                if score >= bound:
                    return None
                heappop(rest)
            job = members.pop(score, None)
            if job is not None:
                return job
        return None

    def size(self) -> int:
        """How many scores it holds, garbage included."""
        return len(self.run) - self.start + len(self.rest)

    def _step(self) -> None:
        """Drop the first of the run. The list is cut when half of it is behind `start`: O(1) each in the long run."""
        self.start += 1
        if 2 * self.start >= len(self.run):
            del self.run[: self.start]
            self.start = 0

    def _compact(self) -> None:
        members = self.members
        self.run = [score for score in self.run[self.start :] if score in members]
        self.start = 0
        self.rest = list({score for score in self.rest if score in members}.difference(self.run))
        heapify(self.rest)
