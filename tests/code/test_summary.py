"""The words of the table that a flow ends with."""

import pytest

from flows.summary import certified


@pytest.mark.parametrize(
    ("error", "needed", "words"),
    [
        (0.0125, 41, "1.2%, at most 7.3% (95 %), 80 looked at, 41 more looks needed"),
        (None, 79, "unknown, at most 7.3% (95 %), 80 looked at, 79 more looks needed"),
        (0.2, None, "20.0%, at most 7.3% (95 %), 80 looked at, more looks will hardly do"),
    ],
)
def test_the_certificate_in_words(error, needed, words):
    numbers = {"population": 300, "looked": 80, "error": error, "upper": 0.0734, "needed": needed}
    metrics = {f"certificate_{name}": value for name, value in numbers.items()}
    assert certified(metrics) == f"; label error of accepted crops: {words}"


def test_where_nothing_is_accepted_nothing_is_said():
    assert certified({"certificate_population": 0}) == ""
