"""The report names the recorded games and their repetitions."""

import pytest

from fifoq.cli.demo.report import origin


@pytest.mark.parametrize(
    ("games", "words"),
    [
        (60, "the 6 of Kasparov against Deep Blue, 1997, 10 times each"),
        (6, "the 6 of Kasparov against Deep Blue, 1997, once each"),
        (8, "the 6 of Kasparov against Deep Blue, 1997, once or twice each"),
        (15, "the 6 of Kasparov against Deep Blue, 1997, twice or 3 times each"),
        (5, "the first 5 of the 6 of Kasparov against Deep Blue, 1997"),
        (1, "the first of the 6 of Kasparov against Deep Blue, 1997"),
    ],
)
def test_repetitions_of_the_recorded_games_are_named(games: int, words: str) -> None:
    assert origin(games) == words
