"""Host-memory tier of the prefix cache: blocks of states, the least recently used one first out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from shared.engine.llama.sequence_state import Bytes


class MemoryTier:
    """Blocks by key, within ``limit`` bytes. Safe for several threads.

    The end of a prefix goes before its beginning, without which it would be of no use.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: OrderedDict[bytes, tuple[str, Bytes]] = OrderedDict()
        """Whose each is, and the state."""
        self._lock = threading.Lock()
        self.n_bytes = 0

    def get(self, keys: Sequence[bytes]) -> list[Bytes]:
        """The blocks of the longest beginning of ``keys`` that is here."""
        with self._lock:
            found: list[Bytes] = []
            for key in keys:
                block = self._blocks.get(key)
                if block is None:
                    break
                found.append(block[1])
            for key in reversed(keys[: len(found)]):
                self._blocks.move_to_end(key)
            return found

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Which of ``keys`` are not here; the others count as used."""
        with self._lock:
            absent = [i for i, key in enumerate(keys) if key not in self._blocks]
            for key in reversed(keys):
                if key in self._blocks:
                    self._blocks.move_to_end(key)
            return absent

    def put(self, tenant: str, keys: Sequence[bytes], blocks: Sequence[Bytes]) -> None:
        """Keep a tenant's consecutive blocks, as many from the first on as there is room for."""
        with self._lock:
            n_fitting, size = 0, 0
            for block in blocks:
                size += block.nbytes
                if size > self._limit:
                    break
                n_fitting += 1
            for key, block in reversed(list(zip(keys[:n_fitting], blocks, strict=False))):
                if key in self._blocks:
                    self._blocks.move_to_end(key)
                    continue
                self._blocks[key] = (tenant, block)
                self.n_bytes += block.nbytes
            while self.n_bytes > self._limit:
                _, (_, block) = self._blocks.popitem(last=False)
                self.n_bytes -= block.nbytes

    def forget(self, tenant: str) -> None:
        """Drop what is a tenant's."""
        with self._lock:
            for key in [key for key, (owner, _) in self._blocks.items() if owner == tenant]:
                self.n_bytes -= self._blocks.pop(key)[1].nbytes

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._blocks.clear()
            self.n_bytes = 0
