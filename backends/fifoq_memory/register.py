"""Which job has a number: as its entry, or as its seq if it came into the line later. In order, for pages of jobs."""

from bisect import bisect_left
from collections.abc import Iterator

from fifoq_memory.job import Job

PAGE_BITS = 9
"""Numbers that differ only in these low bits share a page."""


class Register:
    """
    A map of number to job, in ascending order, that can be read from any number on.

    Numbers are added in ascending order only, into pages of 512: a page is a dict, so one leaves in O(1) and without a
    trace; a page that is empty goes too. (One sorted list, with gaps to be compacted, paused 60 ms at a million jobs.)
    """

    __slots__ = ("order", "pages")

    def __init__(self) -> None:
        self.pages: dict[int, dict[int, Job]] = {}
        self.order: list[int] = []
        """The pages there are, ascending."""

    def add(self, number: int, job: Job) -> None:
        page = self.pages.get(number >> PAGE_BITS)
        if page is None:
            page = self.pages[number >> PAGE_BITS] = {}
            self.order.append(number >> PAGE_BITS)
        page[number] = job

    def remove(self, number: int) -> None:
        page = self.pages[number >> PAGE_BITS]
        del page[number]
        if not page:
            del self.pages[number >> PAGE_BITS]
            del self.order[bisect_left(self.order, number >> PAGE_BITS)]

    def get(self, number: int) -> Job | None:
        page = self.pages.get(number >> PAGE_BITS)
        return None if page is None else page.get(number)

    def after(self, number: int) -> Iterator[tuple[int, Job]]:
        """Each number above `number`, with its job. Nothing may be added or removed meanwhile."""
        for index in range(bisect_left(self.order, number + 1 >> PAGE_BITS), len(self.order)):
            for there, job in self.pages[self.order[index]].items():
                if there > number:
                    yield there, job
