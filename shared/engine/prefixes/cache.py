"""Prefix cache beyond the KV cells: host memory, and a store that outlives the process.

The engine's thread says what comes and what goes; reading, writing and hashing of states is done on
other threads. What it does itself is to have llama.cpp copy a state out of the KV cells (5 ms for
1,024 tokens of a model of 0.5 B parameters) and into them (3 ms).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from weakref import WeakSet

from shared.engine.llama.context import Context
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.sequence_state import Bytes, StateFormatError, StateLayout
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.prefixes.counts import PrefixCounts
from shared.engine.prefixes.keys import BLOCK, KeySpace
from shared.engine.prefixes.memory import MemoryTier
from shared.engine.prefixes.pending import Writes
from shared.engine.prefixes.prompt import COMMON, PromptPrefix, Salt
from shared.engine.prefixes.reads import BlockReader, StoredBlock
from shared.engine.prefixes.seen import KnownKeys, SeenPrefixes
from shared.engine.prefixes.store import BlockStore, BlockStoreError, CircuitBreaker
from shared.engine.prefixes.writes import BlockWriter, NewBlock

_THREADS = 4
"""Prompts whose states are put together at once."""
_WAITING_BYTES = 2**30
"""Bytes of states that prompts in the queue have; what comes on top is evaluated."""
_MARGIN = 0.05
"""Seconds that reading leaves of a request's time at least."""

_log = logging.getLogger("pilotlight.prefixes")


@dataclass(frozen=True, kw_only=True)
class PrefixOptions:
    """Where prefixes are kept besides the KV cells.

    - ``model``: what identifies the model's file.
    - ``memory``: bytes of the host's memory for what had to leave the KV cells.
    - ``store``: None for none.
    - ``max_age``: seconds for which what is stored is valid.
    - ``timeout``: seconds that a request waits for the store, before and after it is evaluated.
    """

    model: bytes
    memory: int = 0
    store: BlockStore | None = None
    max_age: float = 24 * 3600.0
    timeout: float = 2.0


class PrefixCache:
    """Keeps and finds states of prompts' beginnings."""

    def __init__(
        self,
        context: Context,
        layout: StateLayout,
        identity: Sequence[bytes],
        options: PrefixOptions,
    ) -> None:
        """``identity``: all that a state depends on, but the tokens."""
        self.counts = PrefixCounts()
        self.timeout = options.timeout
        self._context = context
        self._layout = layout
        self._keys = KeySpace([*identity, options.model, layout.identity])
        self._memory = MemoryTier(options.memory)
        self._has_memory = options.memory > 0
        self._common = MemoryTier(2**63)
        """What the operator has evaluated for everybody: it stays."""
        self._store = options.store
        if options.store is not None:
            _log.info("prefixes are stored as those of model %s", self._keys.model)
        self._seen = SeenPrefixes()
        self._known = KnownKeys(options.max_age)
        self._threads = ThreadPoolExecutor(_THREADS, "prefixes")
        self._pending: set[Future[None]] = set()
        self._waiting: WeakSet[PromptPrefix] = WeakSet()
        breaker = CircuitBreaker()
        self._reader: BlockReader | None = None
        self._writer: BlockWriter | None = None
        if options.store is not None:
            self._reader = BlockReader(
                *(options.store, breaker, self.counts),
                known=self._known,
                state_size=BLOCK * layout.cell_size,
                max_age=options.max_age,
            )
            self._writer = BlockWriter(options.store, breaker, self.counts, layout, self._known)

    @property
    def n_memory_bytes(self) -> int:
        """Bytes of states in the host's memory."""
        return self._memory.n_bytes + self._common.n_bytes

    def close(self) -> None:
        """End the threads, and let go of all that is kept here."""
        for each in (self._reader, self._writer):
            if each is not None:
                each.close()
        self._threads.shutdown(cancel_futures=True)
        self._memory.clear()
        self.disconnect()

    def warm_up(self) -> None:
        """Load what the first use of the store would wait for."""
        if self._store is not None:
            try:
                self._store.warm_up()
            except BlockStoreError as error:  # prompts are evaluated without it
                _log.warning("the store of prefixes can't be used: %s", error)

    def disconnect(self) -> None:
        """Let go of the store's connections; the next use makes new ones.

        That may be weeks later, in a copy of this process, when the store has other files.
        """
        self._known.clear()
        if self._store is not None:
            self._store.close()

    def look_up(
        self,
        prompt: TokenArray,
        salt: Salt,
        n_live: int,
        deadline: float | None,
        on_end: Callable[[], None],
    ) -> PromptPrefix | None:
        """Look for a prompt's state where more than ``n_live`` tokens of it may be; else None.

        ``on_end`` is called from another thread, once, when what is returned is complete: after
        the timeout at the latest, and before ``deadline``.
        """
        started = time.monotonic()
        prefix = PromptPrefix(self._keys.keys(prompt, salt))
        if not prefix.keys:
            return None
        blocks = self._in_memory(prompt, prefix.keys, n_live)
        n_most = len(prefix.keys) if self._reader is not None else len(blocks)
        n_bytes = n_most * BLOCK * self._layout.cell_size
        if n_most * BLOCK < n_live + BLOCK // 2 or not self._has_room(n_bytes):
            return prefix
        prefix.n_reserved = n_bytes
        self._waiting.add(prefix)
        until = started + self.timeout
        if deadline is not None:
            until = min(until, deadline - _MARGIN)

        def work() -> None:
            try:
                self._find(prefix, prompt, salt[0], blocks, until)
                if prefix.n_tokens <= n_live:
                    prefix.drop()
            except Exception:
                _log.exception("a prefix can't be put together")
            finally:
                prefix.seconds = time.monotonic() - started
                on_end()

        prefix.is_underway = True
        self._submit(work)
        return prefix

    def _in_memory(self, prompt: TokenArray, keys: list[bytes], n_live: int) -> list[Bytes]:
        """The first blocks of a prompt, the tenant's or those that are for everybody."""
        blocks = self._memory.get(keys) if self._has_memory else []
        if not self._common.n_bytes or max(len(blocks) * BLOCK, n_live) >= len(keys) * BLOCK:
            return blocks
        common = self._common.get(self._keys.keys(prompt, COMMON))
        return common if len(common) > len(blocks) else blocks

    def keep_for_all(self, seq_id: int, prompt: TokenArray) -> None:
        """Keep what was evaluated for everybody, as long as there is this cache."""
        keys = self._keys.keys(prompt, COMMON)
        state = self._context.read_state(seq_id)
        self._common.put(COMMON[0], keys, self._layout.divide(state, _ranges(0, len(keys))))

    def _find(
        self,
        prefix: PromptPrefix,
        prompt: TokenArray,
        tenant: str,
        blocks: list[Bytes],
        until: float,
    ) -> None:
        n_here = prefix.n_from_memory = len(blocks)
        if self._reader is not None and n_here < len(prefix.keys):
            missing = [
                StoredBlock(self._keys.path(tenant, key), key, _tokens_of(prompt, i))
                for i, key in enumerate(prefix.keys)
                if i >= n_here
            ]
            found = self._reader.read(missing, until)
            self._known.add(prefix.keys[n_here : n_here + len(found)])
            blocks = [*blocks, *found]
        if blocks:
            prefix.state = self._layout.join(blocks, self._context.n_streams)
            prefix.n_tokens = len(blocks) * BLOCK

    def count(self, prefix: PromptPrefix, n_restored: int, seconds_per_token: float | None) -> None:
        """Count that ``n_restored`` tokens of a prompt need not be evaluated."""
        from_memory = min(n_restored, prefix.n_from_memory * BLOCK)
        saved = (seconds_per_token or 0.0) * n_restored - prefix.seconds
        self.counts.add(
            prefix_memory_tokens=from_memory,
            prefix_store_tokens=n_restored - from_memory,
            prefix_saved_seconds=max(saved, 0.0),
        )

    def keep(self, seq_id: int, tokens: TokenArray, salt: Salt) -> None:
        """Keep in memory what a sequence has in KV cells that it is about to give up."""
        if not self._has_memory:
            return
        keys = self._keys.keys(tokens, salt)
        # Its end is missing where its beginning is shared with others, and has left before.
        missing = self._memory.missing(keys)
        if not missing:
            return
        keys, ranges = keys[missing[0] :], _ranges(missing[0], len(keys))
        try:
            state = self._context.read_state(seq_id)
        except LlamaError as error:
            _log.warning("a prefix is not kept: %s", error)
            return

        def work() -> None:
            try:
                self._memory.put(salt[0], keys, self._layout.divide(state, ranges))
            except StateFormatError as error:
                _log.warning("a prefix is not kept: its state has another form (%s)", error)

        self._submit(work)

    def store(
        self,
        seq_id: int,
        prompt: TokenArray,
        salt: Salt,
        prefix: PromptPrefix | None,
        *,
        is_asked_for: bool,
        writes: Writes,
    ) -> None:
        """Begin to store a prompt that was evaluated, as far as it is worth it.

        That is what was ``is_asked_for``, and else what a prompt of the tenant had before.
        """
        if self._writer is None:
            return
        keys = prefix.keys if prefix is not None else self._keys.keys(prompt, salt)
        n_seen = self._seen.note(salt[0], keys)
        wanted = self._known.missing(keys[: len(keys) if is_asked_for else n_seen])
        if not wanted or not self._writer.takes(len(prompt) * self._layout.cell_size):
            return
        blocks = [
            NewBlock(i, self._keys.path(salt[0], keys[i]), keys[i], _tokens_of(prompt, i))
            for i in wanted
        ]
        self._writer.write(self._context.read_state(seq_id), blocks, writes)

    def forget(self, tenant: str) -> None:
        """Drop what is kept of a tenant in this process; its store is another matter."""
        self._memory.forget(tenant)
        self._seen.forget(tenant)
        self._known.clear()  # of the store's blocks there may be none any more

    def _has_room(self, n_bytes: int) -> bool:
        """Whether one more prompt's state may wait in memory."""
        return n_bytes + sum(each.n_reserved for each in self._waiting) <= _WAITING_BYTES

    def wait(self) -> None:
        """Wait until nothing of `look_up` and `keep` is under way."""
        wait(self._pending.copy())

    def _submit(self, work: Callable[[], None]) -> None:
        future = self._threads.submit(work)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)


def _ranges(first: int, end: int) -> list[tuple[int, int]]:
    return [(i * BLOCK, (i + 1) * BLOCK) for i in range(first, end)]


def _tokens_of(prompt: TokenArray, block: int) -> TokenArray:
    return prompt[block * BLOCK : (block + 1) * BLOCK]
