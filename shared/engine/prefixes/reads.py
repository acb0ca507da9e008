"""Reading of stored blocks: all that a prompt could have, at once.

Nobody knows how much of a prompt is stored. To ask, and then to read, would take two round trips of
the store; so all blocks are asked for at once, as many as it has connections, and those behind the
first one that is missing are given up. A prompt of which nothing is stored costs one round trip.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from shared.engine.llama.sequence_state import Bytes
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.prefixes.block import HEADER_SIZE, InvalidBlockError, state_of
from shared.engine.prefixes.counts import PrefixCounts
from shared.engine.prefixes.seen import KnownKeys
from shared.engine.prefixes.store import BlockStore, BlockStoreError, CircuitBreaker

_log = logging.getLogger("pilotlight.prefixes")


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """Which block to read: the path of its file, its key, and its tokens."""

    path: str
    key: bytes
    tokens: TokenArray


class BlockReader:
    """Reads blocks from a store, on threads of its own."""

    def __init__(
        self,
        store: BlockStore,
        breaker: CircuitBreaker,
        counts: PrefixCounts,
        *,
        known: KnownKeys,
        state_size: int,
        max_age: float,
    ) -> None:
        """Read blocks of so many bytes of state.

        ``known``: what the store has, as far as it is known. ``max_age``: seconds that a block is
        valid.
        """
        self._store = store
        self._breaker = breaker
        self._counts = counts
        self._size = HEADER_SIZE + state_size
        self._known = known
        self._max_age = max_age
        self._threads = ThreadPoolExecutor(store.n_connections, "prefix-reads")

    def close(self) -> None:
        """End the threads; what is under way ends within the store's own limits of time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def read(self, blocks: Sequence[StoredBlock], until: float) -> list[Bytes]:
        """The states of as many of the first blocks as can be had ``until`` then."""
        if not self._breaker.allows():
            return []
        # Python's clock of the day, since other machines have written the time.
        not_before = time.time() - self._max_age
        readings = [
            _Reading(block, self._size, self._store.part_size, not_before) for block in blocks
        ]
        for reading in readings:
            reading.start(self._threads, self._store, until)
        states: list[Bytes] = []
        missing: Sequence[StoredBlock] = ()
        problem = ""
        try:
            for reading in readings:
                state = reading.result(until)
                if state is None:
                    missing = blocks[len(states) :]
                    break
                states.append(state)
        except BlockStoreError as error:
            problem = str(error)
            self._counts.add(prefix_store_failures=1)
        except TimeoutError:
            problem = "it did not answer in time"
            self._counts.add(prefix_timeouts=1)
        except InvalidBlockError as error:
            missing = blocks[len(states) :]
            self._counts.add(prefix_invalid_blocks=1)
            _log.warning("a stored prefix is ignored: %s", error)
            self._store.discard(reading.block.path)
        for reading in readings:
            reading.give_up()
        for block in missing:  # somebody may have deleted them, and they can be written again
            self._known.discard(block.key)
        if problem:
            _log.warning("the store of prefixes can't be read: %s", problem)
        self._breaker.note(is_failure=bool(problem))
        self._counts.add(prefix_read_bytes=len(states) * self._size)
        return states


class _Reading:
    """One block that is read, in parts. The thread that has the last part verifies the block."""

    def __init__(self, block: StoredBlock, size: int, part_size: int, not_before: float) -> None:
        self.block = block
        self._size = size
        self._part_size = part_size
        self._not_before = not_before
        self._futures: list[Future[None]] = []
        self._result: Future[Bytes | None] = Future()
        self._lock = threading.Lock()
        self._n_left = -(-size // part_size)
        self._is_short = self._is_there = False
        self._data: Bytes | None = None

    def start(self, threads: ThreadPoolExecutor, store: BlockStore, until: float) -> None:
        for start in range(0, self._size, self._part_size):
            self._futures.append(threads.submit(self._read_part, store, start, until))

    def result(self, until: float) -> Bytes | None:
        """The state; None if there is none. Raises what reading raised, and `TimeoutError`."""
        return self._result.result(max(until - time.monotonic(), 0))

    def give_up(self) -> None:
        """Don't begin what has not begun."""
        for future in self._futures:
            future.cancel()

    def _read_part(self, store: BlockStore, start: int, until: float) -> None:
        if self._result.done():
            return
        try:
            if time.monotonic() > until:
                raise TimeoutError
            view = self._buffer().data[start : start + self._part_size]
            n_read = store.read(self.block.path, start, view, until)
            if not n_read and not start:
                self._end(None)
            elif self._is_complete(start, is_short=n_read < len(view)):
                self._end(self._verified())
        except Exception as error:
            self._end(error)

    def _is_complete(self, start: int, *, is_short: bool) -> bool:
        """Note a part; whether all are here. Raises `InvalidBlockError` if one will never be.

        That only its first part tells: all parts of a file that is not there are missing.
        """
        with self._lock:
            self._n_left -= 1
            self._is_short |= is_short
            self._is_there |= not start
            if self._is_short and self._is_there:
                raise InvalidBlockError("it is too short")
            return not self._n_left

    def _buffer(self) -> Bytes:
        with self._lock:
            if self._data is None:
                self._data = np.empty(self._size, dtype=np.uint8)
            return self._data

    def _verified(self) -> Bytes | None:
        block = self.block
        return state_of(self._buffer(), block.key, block.tokens, not_before=self._not_before)

    def _end(self, result: Bytes | Exception | None) -> None:
        with self._lock:
            if self._result.done():
                return
            if isinstance(result, Exception):
                self._result.set_exception(result)
            else:
                self._result.set_result(result)
