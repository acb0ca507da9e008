"""Writing of blocks, on threads of its own: beside decoding."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from shared.engine.llama.sequence_state import Bytes, StateFormatError, StateLayout
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.prefixes.block import header
from shared.engine.prefixes.counts import PrefixCounts
from shared.engine.prefixes.keys import BLOCK
from shared.engine.prefixes.pending import Writes
from shared.engine.prefixes.seen import KnownKeys
from shared.engine.prefixes.store import BlockStore, BlockStoreError, CircuitBreaker

_THREADS = 8
"""Files that are written at once."""
_PENDING_BYTES = 2**28
"""Bytes of states that wait to be written; what comes on top is not."""

_log = logging.getLogger("pilotlight.prefixes")


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block to write: its position in the prompt, the path of its file, its key, its tokens."""

    index: int
    path: str
    key: bytes
    tokens: TokenArray


class BlockWriter:
    """Writes blocks to a store, on threads of its own."""

    def __init__(
        self,
        store: BlockStore,
        breaker: CircuitBreaker,
        counts: PrefixCounts,
        layout: StateLayout,
        known: KnownKeys,
    ) -> None:
        """``known``: what the store has, which need not be written."""
        self._store = store
        self._breaker = breaker
        self._counts = counts
        self._layout = layout
        self._known = known
        self._lock = threading.Lock()
        self._n_pending = 0
        self._threads = ThreadPoolExecutor(min(_THREADS, store.n_connections), "prefix-writes")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def takes(self, n_bytes: int) -> bool:
        """Whether there is room for a state of so many bytes, and a store to write it to."""
        with self._lock:
            has_room = self._n_pending + n_bytes <= _PENDING_BYTES
        if not has_room:
            self._counts.add(prefix_skipped_writes=1)
        return has_room and self._breaker.allows()

    def write(self, state: Bytes, blocks: Sequence[NewBlock], writes: Writes) -> None:
        """Begin to write some blocks of a sequence's state."""
        self._known.add([block.key for block in blocks])
        writes.add(lambda: self._submit(self._divide, state, blocks, writes))

    def _submit(self, work: Callable[..., int], state: Bytes, *arguments: object) -> Future[int]:
        """Run ``work``; the bytes of ``state`` count until it has ended."""
        n_bytes = state.nbytes
        with self._lock:
            self._n_pending += n_bytes
        future = self._threads.submit(work, state, *arguments)

        def give_back(_: object) -> None:
            with self._lock:
                self._n_pending -= n_bytes

        future.add_done_callback(give_back)
        return future

    def _divide(self, state: Bytes, blocks: Sequence[NewBlock], writes: Writes) -> int:
        ranges = [(block.index * BLOCK, (block.index + 1) * BLOCK) for block in blocks]
        try:
            parts = self._layout.divide(state, ranges)
        except StateFormatError as error:
            _log.warning("a prefix is not stored: its state has another form (%s)", error)
            return 0
        del state
        # The last one on this thread: where there are few, all of them are written by one more.
        later = [(part, block) for part, block in zip(parts, blocks, strict=True)]
        own = later.pop(0)
        for part, block in later:
            writes.add(partial(self._submit, self._write, part, block, writes), is_part=True)
        return self._write(*own, writes)

    def _write(self, state: Bytes, block: NewBlock, writes: Writes) -> int:
        """Write one block; how many tokens that are."""
        head = header(block.key, block.tokens, state, time.time())
        parts = [memoryview(head), state.data]
        try:
            is_written = self._store.write(block.path, parts, writes.is_cancelled)
        except BlockStoreError as error:
            self._known.discard(block.key)
            self._breaker.note(is_failure=True)
            self._counts.add(prefix_store_failures=1)
            _log.warning("a prefix is not stored: %s", error)
            return 0
        if writes.is_cancelled() and not is_written:
            self._known.discard(block.key)
        if not is_written:
            return 0
        n_bytes = len(head) + state.nbytes
        self._counts.add(prefix_written_bytes=n_bytes, prefix_written_tokens=BLOCK)
        return BLOCK
