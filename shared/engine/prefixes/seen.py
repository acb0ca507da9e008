"""Prefixes seen before, which are worth keeping, and those that the store has already."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

_KEYS = 4096
"""Blocks of a tenant that are remembered, 16 bytes each: a million tokens."""
_TENANTS = 256
_KNOWN = 65536
"""Blocks that are known to be stored."""


class SeenPrefixes:
    """Keys of blocks that prompts had, in bounded memory for each tenant, apart from others'.

    Used by one thread.
    """

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[bytes, None]] = OrderedDict()

    def note(self, tenant: str, keys: Sequence[bytes]) -> int:
        """Remember the keys of a prompt; how many of its first ones were seen before."""
        seen = self._tenants.setdefault(tenant, OrderedDict())
        self._tenants.move_to_end(tenant)
        if len(self._tenants) > _TENANTS:
            self._tenants.popitem(last=False)
        shortened = [key[:16] for key in keys]
        n_seen = next((i for i, key in enumerate(shortened) if key not in seen), len(keys))
        for key in reversed(shortened):
            seen[key] = None
            seen.move_to_end(key)
        while len(seen) > _KEYS:
            seen.popitem(last=False)
        return n_seen

    def forget(self, tenant: str) -> None:
        """Have seen nothing of a tenant."""
        self._tenants.pop(tenant, None)


class KnownKeys:
    """Keys of blocks that the store has, or is being given. Safe for several threads."""

    def __init__(self, max_age: float) -> None:
        """``max_age``: seconds after which the store has them no longer."""
        self._max_age = max_age
        self._times: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, keys: Sequence[bytes]) -> None:
        """Note that the store has these, for half of the time that it keeps them.

        By then another process may have written them long ago.
        """
        until = time.monotonic() + self._max_age / 2
        with self._lock:
            for key in keys:
                self._times[key] = until
                self._times.move_to_end(key)
            while len(self._times) > _KNOWN:
                self._times.popitem(last=False)

    def clear(self) -> None:
        """Know nothing any more."""
        with self._lock:
            self._times.clear()

    def discard(self, key: bytes) -> None:
        """Note that the store does not have one."""
        with self._lock:
            self._times.pop(key, None)

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Which of ``keys`` the store may lack."""
        now = time.monotonic()
        with self._lock:
            return [i for i, key in enumerate(keys) if self._times.get(key, now) <= now]
