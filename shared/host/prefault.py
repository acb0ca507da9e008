"""Prefault: memory that is read ahead by several threads, in the order in which it is needed.

A process that was restored from a snapshot has all of its memory, but what a page holds is fetched
when the page is first touched. llama.cpp touches the weights one page after the other, and waits
for each. Several threads wait for several at once, and are ahead of it.

``madvise(MADV_POPULATE_READ)`` would do nothing: the restored kernel's page tables have the pages,
it is beneath the kernel that they are missing. So a byte of each is read.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import mmap
import threading
import time
from collections.abc import Sequence

from shared.host.memory_map import Region

_BLOCK = 4 * 2**20
"""Bytes that a thread reads at a time. NumPy lets go of the interpreter's lock meanwhile."""

_log = logging.getLogger("pilotlight")


class Prefault:
    """Threads that read regions of memory, which must stay until `stop` has returned."""

    def __init__(self, regions: Sequence[Region], n_threads: int) -> None:
        blocks = [
            Region(start, min(start + _BLOCK, region.end))
            for region in regions
            for start in range(region.start, region.end, _BLOCK)
        ]
        self.n_bytes = sum(region.end - region.start for region in regions)
        self._blocks = iter(blocks)
        self._lock = threading.Lock()
        self._is_stopped = False
        self._left = itertools.count(n_threads - 1, -1)
        self._started = 0.0
        self._threads = [
            threading.Thread(target=self._run, name=f"prefault-{n}", daemon=True)
            for n in range(n_threads)
        ]

    def start(self) -> None:
        """Begin to read."""
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Read no further."""
        self._is_stopped = True
        self.wait()

    def wait(self) -> None:
        """Wait until everything is read."""
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (block := self._next()) is not None:
            _read(block)
        if next(self._left) == 0 and not self._is_stopped:
            seconds = time.monotonic() - self._started
            _log.info("read %.1f MiB of weights ahead in %.2f s", self.n_bytes / 2**20, seconds)

    def _next(self) -> Region | None:
        with self._lock:
            return None if self._is_stopped else next(self._blocks, None)


def _read(block: Region) -> None:
    """Read a byte of each page."""
    import numpy as np  # the load of a model, which needs no arrays, need not wait for it

    memory = (ctypes.c_ubyte * (block.end - block.start)).from_address(block.start)
    np.ctypeslib.as_array(memory)[:: mmap.PAGESIZE].max()
