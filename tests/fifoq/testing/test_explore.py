"""The long run of the kit: it runs as long as it is asked to, shows its seed, and repeats a difference from it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fifoq.clock import Clock
from fifoq.queue import Backend, Stats
from fifoq.testing import explore
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from fifoq_memory import MemoryBackend


class Miscounts(WrappedQueue):
    """A queue that counts one waiting job too many."""

    async def stats(self) -> Stats:
        stats: Stats = await self._queue.stats()
        return stats._replace(waiting=stats.waiting + 1)


def make_broken(clock: Clock | None) -> Backend:
    return WrappedBackend(MemoryBackend("memory://explored-broken", clock=clock), Miscounts)  # pyright: ignore


@pytest.mark.parametrize("url", ["memory://explored", "sqlite:///{}/explored.db"])
def test_it_runs_as_often_as_it_is_asked_to(url: str, tmp_path: Path, capsys: Any) -> None:
    store = url.format(tmp_path)
    assert explore.main([store, "--runs", "2", "--seed", "5", "--steps", "20"]) == 0
    told = capsys.readouterr().err
    assert "from seed 5" in told
    assert "2 runs from seed 5" in told


def test_a_store_of_an_earlier_process_is_refused(tmp_path: Path, capsys: Any) -> None:
    store = f"sqlite:///{tmp_path}/explored.db"
    assert explore.main([store, "--runs", "1", "--steps", "5"]) == 0
    assert explore.main([store, "--runs", "1"]) == 2
    assert "Give a fresh one" in capsys.readouterr().err


def test_it_ends_after_the_seconds_and_shows_its_progress(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "REPORT_EVERY", 0.0)
    assert explore.main(["memory://explored-for-a-while", "--seconds", "0.2", "--steps", "5"]) == 0
    told = capsys.readouterr().err
    assert "no difference; now at seed" in told


def test_a_difference_ends_it_with_the_command_that_repeats_it(capsys: Any) -> None:
    store = f"{__name__}:make_broken"
    assert explore.main([store, "--seed", "7", "--steps", "60"]) == 1
    assert "python -m fifoq.testing.explore" in capsys.readouterr().err


def test_it_is_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fifoq.testing.explore", "memory://program", "--runs", "1", "--steps", "5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "from seed" in done.stderr
