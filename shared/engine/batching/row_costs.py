"""Row costs: how long a decode of so many rows takes on this machine, learnt from the steps.

A row is a token with logits. Kernels work in tiles, so that five rows may take longer than eight:
which ones do depends on the processor, the weights' type and the build. Who chooses how many rows a
batch has, for padding or for drafts, asks here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection

_KEPT = 9
"""Steps of each number of rows whose lower quartile counts: what else runs only adds to them."""
_MOST_ROWS = 1024
"""Rows up to which each number has a cost of its own. Drafts of 16 tokens for 16 sequences make
272, and logits of so many take longer than a prompt's tokens, which have none."""
_LEAST_PROMPT = 32
"""Tokens of the smallest batch of a prompt that tells what many rows take."""
_TRUSTED = 3
"""Decodes of a number of rows whose mean is believed."""
_FORGOTTEN = 512
"""Steps after which what was observed is believed no more."""
_SLOPE = 0.25
"""What a row adds to the time of one, before anything is known: between a GPU's and a CPU's."""


class RowCosts:
    """Seconds of decodes by their rows, observed and estimated. Of one engine, and its thread's."""

    def __init__(self) -> None:
        self._observed: dict[int, deque[float]] = {}
        self._typical: dict[int, float] = {}
        self._prompts: deque[tuple[int, float]] = deque(maxlen=_KEPT)
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
        self._points = None
        kept = self._observed.get(n_rows)
        if kept is None:
            kept = self._observed[n_rows] = deque(maxlen=_KEPT)
            self._known = sorted(self._observed)
        kept.append(seconds)
        self._n_steps += 1
        self._last[n_rows] = self._n_steps
        self._typical.pop(n_rows, None)

    def observe_prompt(self, n_rows: int, seconds: float) -> None:
        """Take what a batch of a prompt took, of whose tokens hardly one has logits."""
        if n_rows > _LEAST_PROMPT:
            self._prompts.append((n_rows, seconds))
            self._points = None

    def n_observed(self, n_rows: int) -> int:
        """Decodes of just ``n_rows`` rows that count."""
        return len(self._observed.get(n_rows, ()))

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
        elif larger := [batch for batch in self._prompts if batch[0] > below]:
            above, at_above = min(larger, key=_rate)
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
            if self._points and self._prompts:
                largest = self._points[-1][0]
                batch = sorted(self._prompts, key=_rate)[len(self._prompts) // 2]
                if batch[0] > largest:
                    self._points.append(batch)
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


def _mean(seconds: Collection[float]) -> float:
    """The mean without the slowest of several."""
    if len(seconds) < _TRUSTED:
        return sum(seconds) / len(seconds)
    return (sum(seconds) - max(seconds)) / (len(seconds) - 1)


def _rate(batch: tuple[int, float]) -> float:
    return batch[1] / batch[0]
