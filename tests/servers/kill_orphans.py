"""
Kills the servers of a test run that did not live to do it.

It reads `+pid` and `-pid` from the run that started it. When that run ends, even by SIGKILL, the pipe is closed: what
was not taken back is killed. It must know nothing of tests, and is run as a program by itself.
"""

import os
import signal
import sys


def main() -> None:
    alive: set[int] = set()
    for line in sys.stdin:
        (alive.add if line[0] == "+" else alive.discard)(int(line[1:]))
    for pid in alive:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main()
