"""Queue limits: how many sequences run and wait, and ``retry-after``."""

from __future__ import annotations

import random
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from shared.engine.types import QueueFullError, TooManySequencesError

_MOST_SECONDS = 40.0
"""The longest estimate. Clients ignore what is above a minute, and there is jitter to come."""
_JITTER = 0.5
"""The estimate is lengthened by up to so much of itself, lest all come back at once."""
_REMEMBERED = 64
"""Ends of sequences that the rate is taken from."""


@dataclass(slots=True)
class _TenantLoad:
    """One tenant's live sequences, and when some ended since it last had none (monotonic)."""

    n_live: int = 0
    since: float = 0.0
    ended: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Load:
    """Live sequences of each tenant; nobody's fill the queue for others. Not thread-safe."""

    def __init__(self, n_parallel: int, max_queue: int) -> None:
        """A tenant may have ``max_queue`` sequences besides ``n_parallel``, which run."""
        self._limit = n_parallel + max_queue
        self._request_limit = max(n_parallel, max_queue)
        self._tenants: defaultdict[str, _TenantLoad] = defaultdict(_TenantLoad)

    def check(self, tenant: str, n_sequences: int) -> None:
        """Raise `TooManySequencesError` or `QueueFullError` where there is no room for them."""
        if n_sequences > self._request_limit:
            raise TooManySequencesError(n_sequences, self._request_limit)
        load = self._tenants.get(tenant)
        if load is not None and load.n_live + n_sequences > self._limit:
            seconds = self._seconds_until_room(load, load.n_live + n_sequences - self._limit)
            raise QueueFullError(load.n_live, seconds)

    def take(self, tenant: str, n_sequences: int) -> None:
        """Count a request's sequences; raises `TooManySequencesError` and `QueueFullError`."""
        self.check(tenant, n_sequences)
        load = self._tenants[tenant]
        if not load.n_live:
            load.since = time.monotonic()
        load.n_live += n_sequences

    def give_back(self, tenant: str, n_sequences: int) -> None:
        """Count sequences that have ended."""
        load = self._tenants[tenant]
        load.n_live -= n_sequences
        if load.n_live:
            load.ended.extend([time.monotonic()] * min(n_sequences, _REMEMBERED))
        else:  # the throughput of busy times only
            del self._tenants[tenant]

    @staticmethod
    def _seconds_until_room(load: _TenantLoad, n_excess: int) -> int:
        """Whole seconds until ``n_excess`` sequences have ended, at the rate of the last ones.

        One more is counted than have ended, so that there is a guess before the first has: as long
        again as it has taken so far.
        """
        is_full = len(load.ended) == _REMEMBERED
        since = load.ended[0] if is_full else load.since
        seconds_each = (time.monotonic() - since) / (len(load.ended) + 1)
        seconds = min(max(n_excess * seconds_each, 1.0), _MOST_SECONDS)
        return int(seconds * random.uniform(1, 1 + _JITTER) + random.random())
