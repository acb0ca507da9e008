"""Counts of what the prefix cache beyond the KV cells does, for metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class PrefixCounts:
    """Since the start; units are in the names. Any thread may `add`."""

    prefix_memory_tokens: int = 0
    prefix_store_tokens: int = 0
    prefix_read_bytes: int = 0
    prefix_written_bytes: int = 0
    prefix_written_tokens: int = 0
    prefix_invalid_blocks: int = 0
    prefix_store_failures: int = 0
    prefix_timeouts: int = 0
    prefix_skipped_writes: int = 0
    prefix_saved_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **amounts: float) -> None:
        """Add to the counts of these names."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)

    def items(self) -> list[tuple[str, float]]:
        """Names and counts."""
        with self._lock:
            return [(f.name, getattr(self, f.name)) for f in fields(self) if f.name[0] != "_"]
