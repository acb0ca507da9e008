"""Row costs: how long a decode of so many rows takes on this machine, learnt from the steps.

A row is a token with logits. Kernels work in tiles, so that five rows may take longer than eight:
which ones do depends on the processor, the weights' type and the build. Who chooses how many rows a
batch has, for padding or for drafts, asks here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from statistics import median

_KEPT = 9
"""Steps of each number of rows whose lower quartile counts: what else runs only adds to them."""
_MOST_ROWS = 1024
"""Rows up to which each number has a cost of its own. Drafts of 16 tokens for 16 sequences make
272, and logits of so many take longer than a prompt's tokens, which have none."""
_MANY = 32
"""Rows from which on batches tell what many rows take."""
_TRUSTED = 3
"""Decodes of a number of rows whose mean is believed."""
_FORGOTTEN = 512
"""Steps after which what was observed is believed no more."""
_SLOPE = 0.25
"""What a row adds to the time of one, before anything is known: between a GPU's and a CPU's."""
_MOST_FACTOR = 4.0
_BEYOND = 1.05
"""What twice the rows of any that are known are taken to cost beyond how it goes on: of two numbers
that seem alike the one that was tried is chosen."""
_MOST_LOGITS = 0.25
"""The part of a prompt's tokens that may have logits for it to tell of those without."""
_DOUBTED = 1.5
"""How many times what is guessed is believed of a factor that was observed once or twice."""
_MARGIN = 1.1
"""What rows with logits are taken to cost beyond their part of the weights, until one batch of many
has told: to read logits takes time, too, and what is tried in vain costs all sequences."""


@dataclass(frozen=True, slots=True)
class _PromptBatch:
    """A batch of tokens of which a part has logits."""

    n_rows: int
    seconds: float
    part: float

    @property
    def rate(self) -> float:
        """Seconds of a token."""
        return self.seconds / self.n_rows

    def with_logits(self, factor: float) -> tuple[int, float]:
        """The rows, and what they would take if all had logits."""
        return self.n_rows, self.seconds * factor / (1 + (factor - 1) * self.part)

    def factor(self, seconds: float) -> float:
        """What logits make a token take longer by, if all had some and it took ``seconds``."""
        ratio = min(max(seconds / self.seconds, 1.0), _MOST_FACTOR)
        others = 1 - ratio * self.part
        return min(ratio * (1 - self.part) / others, _MOST_FACTOR) if others > 0 else _MOST_FACTOR


class RowCosts:
    """Seconds of decodes by their rows, observed and estimated. Of one engine, and its thread's."""

    def __init__(self, logits_factor: float = 1.0) -> None:
        """``logits_factor``: see `Model.logits_factor`, until more is known."""
        self.n_tries = 0
        """Decodes of numbers of rows of which little was known: estimates change with each."""
        self._guessed_factor = min(_MARGIN * logits_factor, _MOST_FACTOR)
        self._factors: deque[tuple[int, float]] = deque(maxlen=_KEPT)
        """What was observed instead, and in which step."""
        self._observed: dict[int, deque[float]] = {}
        self._typical: dict[int, float] = {}
        self._prompts: deque[_PromptBatch] = deque(maxlen=_KEPT)
        self._known: list[int] = []
        self._points: list[tuple[int, float]] | None = None
        """Numbers of rows and mean times that estimates lie between; None where these changed."""
        self._n_steps = 0
        self._last: dict[int, int] = {}
        """The step in which each number of rows was observed last."""

    def observe(self, n_rows: int, seconds: float) -> None:
        """Take what a decode of ``n_rows`` rows took."""
        if n_rows > _MOST_ROWS:
            return
        if n_rows >= _MANY and self._prompts:
            self._observe_factor(n_rows, seconds)
        self.n_tries += self.n_observed(n_rows) < _TRUSTED
        self._points = None
        kept = self._observed.get(n_rows)
        if kept is None:
            kept = self._observed[n_rows] = deque(maxlen=_KEPT)
            self._known = sorted(self._observed)
        kept.append(seconds)
        self._n_steps += 1
        self._last[n_rows] = self._n_steps
        self._typical.pop(n_rows, None)

    def observe_prompt(self, n_rows: int, seconds: float, n_logits: int = 0) -> None:
        """Take what a batch of a prompt took, of whose tokens only ``n_logits`` have logits."""
        if n_rows > _MANY and n_logits <= _MOST_LOGITS * n_rows:
            self._prompts.append(_PromptBatch(n_rows, seconds, n_logits / n_rows))
            self._points = None

    @property
    def logits_factor(self) -> float:
        """What a token with logits takes, by one without them, where batches are large."""
        guess = self._guessed_factor
        recent = [factor for step, factor in self._factors if self._n_steps - step < _FORGOTTEN]
        if not recent:
            return guess
        factor = median(recent)
        return factor if len(recent) >= _TRUSTED else min(factor, _DOUBTED * guess)

    def _observe_factor(self, n_rows: int, seconds: float) -> None:
        """Take what many rows with logits tell of how much longer they take than prompts."""
        smaller = reversed(self._known[: bisect_right(self._known, n_rows // 2)])
        n_small = next(filter(self._is_trusted, smaller), 0)
        at_small = _mean(self._observed[n_small]) if n_small else 0.0
        batch = self._typical_prompt()
        slope = (seconds - at_small) / (n_rows - n_small)
        expected = at_small + slope * (batch.n_rows - n_small)
        self._factors.append((self._n_steps, batch.factor(expected)))

    def _typical_prompt(self) -> _PromptBatch:
        batches = sorted(self._prompts, key=lambda batch: batch.rate)
        return batches[len(batches) // 2]

    def n_observed(self, n_rows: int) -> int:
        """Decodes of just ``n_rows`` rows that count."""
        return len(self._observed.get(n_rows, ()))

    @property
    def n_rows_sensible(self) -> int:
        """Rows up to which there is something to be learnt, and not too much to be lost."""
        return max(_MANY, 2 * self._known[-1] if self._known else 0)

    def is_established(self, n_rows: int) -> bool:
        """Whether enough decodes of just ``n_rows`` rows were observed to rely on `seconds`."""
        return self.n_observed(n_rows) >= _TRUSTED

    @property
    def is_known(self) -> bool:
        """Whether `expected` is in seconds: some number of rows was observed lately."""
        return any(map(self._is_trusted, self._known))

    def seconds(self, n_rows: int) -> float:
        """The time of ``n_rows`` rows; of one that nothing is known of it is the unit.

        What was never tried is interpolated; at the far end stand batches of prompts, which every
        request begins with.
        """
        if n_rows in self._observed:
            return self._typical_of(n_rows)
        if not self._known:
            return 1 + _SLOPE * (n_rows - 1)
        i = bisect_left(self._known, n_rows)
        if i == 0:
            first = self._known[0]
            at_first = self._typical_of(first)
            return at_first * (1 + _SLOPE * (n_rows - 1)) / (1 + _SLOPE * (first - 1))
        below = self._known[i - 1]
        at_below = self._typical_of(below)
        if i < len(self._known):
            above, at_above = self._known[i], self._typical_of(self._known[i])
        elif larger := [batch for batch in self._prompts if batch.n_rows > below]:
            best = min(larger, key=lambda batch: batch.rate)
            above, at_above = best.with_logits(self.logits_factor)
        else:
            above, at_above = below + 1, at_below * (1 + _SLOPE / (1 + _SLOPE * (below - 1)))
        return at_below + (n_rows - below) * max(at_above - at_below, 0.0) / (above - below)

    def _typical_of(self, n_rows: int) -> float:
        """The lower quartile of a number that was observed; sorted when somebody asks."""
        typical = self._typical.get(n_rows)
        if typical is None:
            kept = self._observed[n_rows]
            typical = self._typical[n_rows] = sorted(kept)[len(kept) // 4]
        return typical

    def expected(self, n_rows: int) -> float:
        """The mean time of ``n_rows`` rows, in the unit of `seconds`.

        On a busy machine the quickest decodes are no measure of what one more row takes: short ones
        slip through between what others do, long ones don't. Of what was tried seldom, or long ago,
        only what was fast is believed, so that a bad moment does not rule a number out for good.
        """
        own = self._observed.get(n_rows, ())
        if self._is_trusted(n_rows):
            return _mean(own)
        estimate = self._between(n_rows)
        return min(estimate, _mean(own)) if own else estimate

    def _is_trusted(self, n_rows: int) -> bool:
        n_observed = len(self._observed.get(n_rows, ()))
        return n_observed >= _TRUSTED and self._n_steps - self._last[n_rows] < _FORGOTTEN

    def _between(self, n_rows: int) -> float:
        """An estimate from the numbers of rows above and below that are known well."""
        if self._points is None:
            self._points = [
                (n, _mean(self._observed[n])) for n in self._known if self._is_trusted(n)
            ]
            if self._points and (beyond := self._point_beyond(self._points)):
                self._points.append(beyond)
        points = self._points
        if not points:
            return 1 + _SLOPE * (n_rows - 1)
        i = min(max(bisect_left(points, (n_rows, 0.0)), 1), len(points) - 1)
        if i == 0:
            known, seconds = points[0]
            return seconds * (1 + _SLOPE * (n_rows - 1)) / (1 + _SLOPE * (known - 1))
        (below, at_below), (above, at_above) = points[i - 1], points[i]
        slope = max(at_above - at_below, 0.0) / max(above - below, 1)
        return max(at_below + (n_rows - below) * slope, 0.5 * at_below)

    def _point_beyond(self, points: list[tuple[int, float]]) -> tuple[int, float] | None:
        """What tells of more rows than ``points``: a prompt's batch, if that is much larger.

        Else how what is known goes on: between two numbers that differ little there are errors
        rather than a slope.
        """
        largest, at_largest = points[-1]
        batch = self._typical_prompt() if self._prompts else None
        if batch is not None and batch.n_rows >= 2 * largest:
            return batch.with_logits(self.logits_factor)
        smaller = [point for point in points if 2 * point[0] <= largest]
        if smaller:
            small, at_small = smaller[-1]
            slope = max(at_largest - at_small, 0.0) / (largest - small)
            return 2 * largest, _BEYOND * (at_largest + slope * largest)
        if batch is not None and batch.n_rows > largest:
            return batch.with_logits(self.logits_factor)
        return None


def _mean(seconds: Collection[float]) -> float:
    """The mean without the slowest of several."""
    if len(seconds) < _TRUSTED:
        return sum(seconds) / len(seconds)
    return (sum(seconds) - max(seconds)) / (len(seconds) - 1)
