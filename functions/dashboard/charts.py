"""Stacked bar charts: geometry of bars, axis and legend, which a template draws as SVG.

Positions are percentages of the plot, which SVG takes as attributes: a chart is as wide as its page
while its text keeps its size, without a script and without inline styles. Colours are classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

MAX_SERIES = 8
"""Colours that are told apart; the last one is of all others together."""

_FILLED = 0.72
"""Of a bar's share of the width."""
_MOST_LABELS = 6
"""On the horizontal axis, of which a narrow screen has room for so many."""
_MOST_TICKS = 4
_OTHERS = "Others"


@dataclass(frozen=True, slots=True)
class Series:
    """A series: a number for each label. ``key`` tells it apart from others of its name."""

    key: str
    name: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        """Of all labels."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a bar, in percent of the plot; ``text`` is told when it is pointed at."""

    color: int
    x: str
    y: str
    width: str
    height: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of an axis: where, in percent, and what it says. ``anchor``: SVG's."""

    at: str
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart to draw.

    - ``name``: for ids of elements; a word.
    - ``summary``: what is heard in place of the picture.
    - ``rows``: of the table by label, each a label and a number for each series.
    """

    name: str
    title: str
    summary: str
    labels: Sequence[str]
    series: Sequence[Series]
    bars: Sequence[Bar]
    ticks: Sequence[Mark]
    marks: Sequence[Mark]
    shown: Callable[[int], str]

    @property
    def total(self) -> int:
        """Of all series."""
        return sum(series.total for series in self.series)

    @property
    def rows(self) -> Sequence[tuple[str, Sequence[int]]]:
        """Of the table."""
        return [
            (label, [series.values[i] for series in self.series])
            for i, label in enumerate(self.labels)
        ]


def stacked_bars(
    name: str,
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    shown: Callable[[int], str],
    tick: Callable[[int], str],
) -> Chart:
    """A chart of ``series``, the first one at the bottom. Its place decides on its colour.

    ``shown``: a number in tables; ``tick``: the same, short, at the axis.
    """
    drawn = _told_apart(series, len(labels))
    sums = [sum(each.values[i] for each in drawn) for i in range(len(labels))]
    step = _step(max(sums, default=0))
    top = step * max(-(-max(sums, default=0) // step), 1)
    bars = []
    for i, label in enumerate(labels):
        below = 0
        for color, each in enumerate(drawn):
            value = each.values[i]
            if value <= 0:
                continue
            below += value
            bars.append(
                Bar(
                    color,
                    x=_percent(i + (1 - _FILLED) / 2, len(labels)),
                    y=_percent(top - below, top),
                    width=_percent(_FILLED, len(labels)),
                    height=_percent(value, top),
                    text=f"{label}, {each.name}: {shown(value)}",
                )
            )
    ticks = [Mark(_percent(top - at, top), tick(at)) for at in range(0, top + 1, step)]
    return Chart(
        name,
        title,
        _summary(labels, sums, shown),
        labels,
        drawn,
        bars,
        ticks,
        _marks(labels),
        shown,
    )


def _told_apart(series: Sequence[Series], n_labels: int) -> Sequence[Series]:
    """The series, the last ones as one where there are more than colours."""
    if len(series) <= MAX_SERIES:
        return series
    kept, rest = series[: MAX_SERIES - 1], series[MAX_SERIES - 1 :]
    values = [sum(each.values[i] for each in rest) for i in range(n_labels)]
    return [*kept, Series("", f"{_OTHERS} ({len(rest)})", values)]


def _step(largest: int) -> int:
    """Distance of ticks: 1, 2 or 5 times a power of ten, so that few are needed."""
    step = 1
    while step * _MOST_TICKS < largest:
        leading = str(step)[0]
        step = step * 5 // 2 if leading == "2" else step * 2
    return step


def _marks(labels: Sequence[str]) -> Sequence[Mark]:
    """Labels under the bars: all, or every so many. The outer ones stay inside of the plot."""
    n = len(labels)
    every = max(-(-n // _MOST_LABELS), 1)
    marks = []
    for i in range(0, n, every):
        at = (i + 0.5) / n
        anchor = "start" if at < 0.05 else "end" if at > 0.95 else "middle"
        marks.append(Mark(_percent(i + 0.5, n), labels[i], anchor))
    return marks


def _summary(labels: Sequence[str], sums: Sequence[int], shown: Callable[[int], str]) -> str:
    if not any(sums):
        return "Nothing in this time."
    most = max(range(len(sums)), key=lambda i: sums[i])
    return (
        f"{labels[0]} to {labels[-1]}: {shown(sum(sums))} in total, "
        f"most on {labels[most]} with {shown(sums[most])}. The table has all numbers."
    )


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.4f}".rstrip("0").rstrip(".") + "%"


def short_number(number: int) -> str:
    """A number in at most four characters or so: 1.2K, 30M."""
    for power, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= power:
            return f"{Decimal(number) / power:.3g}{unit}".replace(".0", "")
    return str(number)
