"""The oldest waiting job, found when somebody asks, at no cost on the way of a job."""

from heapq import heappop, heappush

from fifoq.state import State
from fifoq_memory.job import Job
from fifoq_memory.register import Register


class Oldest:
    """
    A place in the numbers that moves on past all that does not wait, and those that came back to wait behind it.

    Each number is passed once and each return looked at once, however often somebody asks.
    """

    __slots__ = ("passed", "returned", "seqs")

    def __init__(self) -> None:
        self.passed = 0
        """No job with a seq up to here is waiting, but for those in `returned`."""
        self.returned: list[int] = []
        """A heap of seqs."""
        self.seqs: set[int] = set()
        """The same seqs: each is in the heap once, or a job that retries for ever would fill it."""

    def came_back(self, job: Job) -> None:
        """The job waits again at its old place."""
        seq = job.seq
        if seq is not None and seq <= self.passed and seq not in self.seqs:
            self.seqs.add(seq)
            heappush(self.returned, seq)

    def find(self, register: Register) -> Job | None:
        """The waiting job with the smallest seq."""
        while self.returned:
            job = _waiting(register.get(self.returned[0]), self.returned[0])
            if job is not None:
                return job
            self.seqs.discard(heappop(self.returned))
        for number, there in register.after(self.passed):
            if _waiting(there, number) is not None:
                return there
            self.passed = number
        return None


def _waiting(job: Job | None, seq: int) -> Job | None:
    return job if job is not None and job.state is State.WAITING and job.seq == seq else None
