"""Recent speed of models: tokens per second and time to first token of the last requests.

Of this process alone, from what each request comes to anyway: nothing is measured for it, and to
look at it asks neither a model nor an upstream.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.runtime.request_context import RequestContext

_MOST_REQUESTS = 50
"""Of a model; older ones are forgotten."""
_MOST_MODELS = 256


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians of a model's last ``requests``. ``last_at``: the newest one's end, Unix seconds."""

    requests: int
    tokens_per_second: float | None
    first_token_seconds: float
    last_at: float


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    tokens_per_second: float | None
    first_token_seconds: float


class RecentSpeed:
    """The last requests of each model. Used on an event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._samples: OrderedDict[str, deque[_Sample]] = OrderedDict()

    def observe(self, context: RequestContext) -> None:
        """Take a request that has ended; those that no model answered say nothing."""
        generation, model = context.generation, context.model
        if generation is None or model is None:
            return
        samples = self._samples.setdefault(model, deque(maxlen=_MOST_REQUESTS))
        self._samples.move_to_end(model)
        if len(self._samples) > _MOST_MODELS:
            self._samples.popitem(last=False)
        rate, first = generation.tokens_per_second, generation.first_token_seconds
        samples.append(_Sample(self._clock(), rate, first))

    def of(self, model: str) -> Speed | None:
        """A model's, None where this process has seen no request of it."""
        samples = self._samples.get(model)
        if not samples:
            return None
        rates = [each.tokens_per_second for each in samples if each.tokens_per_second is not None]
        return Speed(
            len(samples),
            median(rates) if rates else None,
            median(each.first_token_seconds for each in samples),
            samples[-1].at,
        )
