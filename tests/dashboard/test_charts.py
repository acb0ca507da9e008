"""Charts: geometry of bars, ticks, labels, and series beyond the colours."""

from __future__ import annotations

import pytest

from functions.dashboard.charts import MAX_SERIES, Chart, Series, short_number, stacked_bars


def chart(*series: list[int], labels: list[str] | None = None) -> Chart:
    """A chart of series ``a``, ``b``, ..."""
    named = [Series(chr(97 + i), chr(97 + i), values) for i, values in enumerate(series)]
    labels = labels or [f"day {i}" for i in range(len(series[0]) if series else 3)]
    return stacked_bars("tokens", "Tokens", labels, named, shown=str, tick=short_number)


def test_bars_are_stacked_in_the_order_of_the_series() -> None:
    drawn = chart([4, 0], [6, 5])

    assert [(bar.color, bar.y, bar.height) for bar in drawn.bars] == [
        (0, "60%", "40%"),
        (1, "0%", "60%"),
        (1, "50%", "50%"),
    ]
    assert [bar.x for bar in drawn.bars] == ["7%", "7%", "57%"]
    assert drawn.bars[0].text == "day 0, a: 4"
    assert [tick.text for tick in drawn.ticks] == ["0", "5", "10"]
    assert drawn.rows == [("day 0", [4, 6]), ("day 1", [0, 5])]


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [
        (0, ["0", "1"]),
        (1, ["0", "1"]),
        (7, ["0", "2", "4", "6", "8"]),
        (40, ["0", "10", "20", "30", "40"]),
        (41, ["0", "20", "40", "60"]),
        (1_234_567, ["0", "500K", "1M", "1.5M"]),
    ],
)
def test_ticks_are_round_numbers(largest: int, ticks: list[str]) -> None:
    assert [tick.text for tick in chart([largest]).ticks] == ticks


def test_series_beyond_the_colours_are_one() -> None:
    drawn = chart(*([[i, 1] for i in range(MAX_SERIES + 3)]))

    assert len(drawn.series) == MAX_SERIES
    assert drawn.series[-1].name == "Others (4)"
    assert drawn.series[-1].values == [7 + 8 + 9 + 10, 4]
    assert drawn.total == sum(range(MAX_SERIES + 3)) + MAX_SERIES + 3


def test_few_of_many_labels_are_shown_and_all_of_few() -> None:
    assert len(chart([1] * 30).marks) == 6
    assert [mark.text for mark in chart([1] * 3).marks] == ["day 0", "day 1", "day 2"]


def test_what_is_heard_in_place_of_the_picture() -> None:
    assert chart([1, 9], [1, 1]).summary.startswith(
        "day 0 to day 1: 12 in total, most on day 1 with 10."
    )
    assert chart([0, 0]).summary == "Nothing in this time."


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1200, "1.2K"), (30_000_000, "30M"), (2 * 10**12, "2T")],
)
def test_short_numbers(number: int, text: str) -> None:
    assert short_number(number) == text
