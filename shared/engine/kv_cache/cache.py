"""KV cache: which sequence holds the cells of which tokens, and how prompts share prefixes.

llama.cpp keeps the cells, `TokenRows` the tokens they stand for, one row per sequence id. A
finished sequence keeps its cells until somebody needs them: the prefix cache is just those entries,
oldest first out.

The cells are one pool (unified) or an equal share per sequence. A pool makes sharing a prefix free
and lets one sequence take what others don't need. But each token's attention then walks over the
cells of all sequences, if only to skip them: at 16 sequences of 150 tokens that is 12 % of a step
on a CPU, and it grows with everything the pool holds. So the pool keeps few finished sequences, and
many parallel sequences are better off with shares.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from itertools import chain

from shared.engine.kv_cache.cells import CellCounter, HeldCells, KVEntry
from shared.engine.kv_cache.copies import MOST_COPIED_FOR, PendingCopies
from shared.engine.kv_cache.memory import KVMemory
from shared.engine.kv_cache.placement import beside, place
from shared.engine.kv_cache.prefix_search import PrefixBusyError, TokenRows
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.sequence_state import Bytes
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.prefixes.prompt import COMMON

_WORTH_KEEPING_STATE = 32
"""Tokens that a state has to save, or that cells have to lose, for it to be read or kept."""

_WORTH_KEEPING = 32
"""Tokens that a finished entry has to save for it to count as used, or half of its own: all chats
begin with the few of their template."""

_MAX_FINISHED_CELLS = 4096
"""Cells of finished sequences that a pool keeps, beside the newest one's."""


class KVCache:
    """Hands out sequence ids, finds shared prefixes, and evicts finished sequences."""

    def __init__(
        self,
        memory: KVMemory,
        n_seq_max: int,
        *,
        shares_prefixes: bool = True,
        least_copied: int = MOST_COPIED_FOR,
    ) -> None:
        """``shares_prefixes`` is off for models whose memory can't be cut (recurrent, hybrid).

        ``least_copied``: tokens of a prefix for which a share of cells is copied.
        """
        self.n_cells = memory.n_ctx
        self.is_unified = memory.is_unified
        self._memory = memory
        self._shares_prefixes = shares_prefixes
        self._least_copied = least_copied
        self.can_cut = shares_prefixes
        """Whether a sequence can give up its last cells."""
        self.n_places = n_seq_max
        self.n_cells_each = memory.n_ctx_seq
        """Cells that one sequence can have."""
        self._rows = TokenRows(n_seq_max, memory.n_ctx_seq)
        self._entries: list[KVEntry | None] = [None] * n_seq_max
        self._free = list(reversed(range(n_seq_max)))
        self._finished: OrderedDict[int, KVEntry] = OrderedDict()
        self._counter = CellCounter()
        self._copies = PendingCopies()
        self._held: HeldCells | None = None
        """Cells of live sequences; None where they have to be counted anew."""
        self.on_evict: Callable[[KVEntry], None] = lambda _: None
        """Called with a finished entry that is about to give up cells for others."""
        self.on_release: Callable[[KVEntry], None] = lambda _: None
        """Called with an entry that is about to give up all its cells."""

    @property
    def n_cells_free(self) -> int:
        """Cells that nothing holds, be it running or finished."""
        return self.n_cells - self._counter.n_used

    @property
    def n_cells_running(self) -> int:
        """Cells that live sequences hold, whoever else does."""
        if self._held is None:
            self._held = HeldCells(self._running())
        return self._held.n_cells

    @property
    def n_cells_finished(self) -> int:
        """Cells kept for future prompts only, free to be evicted."""
        return self._counter.n_used - self.n_cells_running

    @property
    def n_entries_finished(self) -> int:
        """Finished sequences whose cells are kept."""
        return len(self._finished)

    @property
    def n_entries_running(self) -> int:
        """Sequence ids held by live sequences."""
        return len(self._entries) - len(self._free) - len(self._finished)

    def tokens(self, entry: KVEntry, start: int, end: int) -> TokenArray:
        """The known tokens from ``start`` to ``end`` (a view)."""
        return self._rows.of(entry, start, end)

    def n_live(self, prompt: TokenArray, salt: Hashable) -> int:
        """Tokens of ``prompt`` that some sequence has evaluated, or will have in a moment."""
        try:
            return self._longest_prefix(prompt, salt)[1]
        except PrefixBusyError:
            return len(prompt)

    def acquire(
        self,
        prompt: TokenArray,
        *,
        salt: Hashable = None,
        shares: bool = True,
        state: Bytes | None = None,
        n_state: int = 0,
        n_next: int = 0,
    ) -> KVEntry:
        """An entry for ``prompt``, with the longest shared prefix already evaluated.

        ``state`` is that of its first ``n_state`` tokens: it is used where it saves more.
        ``n_next``: how many more sequences are about to have entries.

        At least the prompt's last token is left to evaluate, since its logits are needed. Raises
        `PrefixBusyError` when waiting for another sequence's prefill saves evaluating the prefix
        twice. Nothing is shared with, or waited for, entries of another ``salt`` than this and
        `COMMON`; ``shares`` False has all of the prompt evaluated. The caller keeps the number of
        live sequences within ``n_seq_max``.
        """
        source, n_shared = self._longest_prefix(prompt, salt) if shares else (None, 0)
        if source is not None and (self.is_unified or source.salt == COMMON):
            self._note_use(source, n_shared)
        seq_id = self._place(source, n_shared, n_next)
        restored = None
        if state is not None and n_state - n_shared >= _WORTH_KEEPING_STATE:
            restored = self._restore(prompt, state, n_state)
        if restored is not None:
            entry = restored
        elif source is not None and seq_id == source.seq_id:
            entry = self._take_over(source, n_shared)
        else:
            if not self.is_unified:
                self._make_way(seq_id, source)
            entry = self._new_entry(seq_id)
            if source is not None and (self.is_unified or n_shared >= self._least_copied):
                self._share(source, entry, n_shared)
        self._rows.set(entry, prompt)
        entry.salt = salt
        if self._held is not None:
            self._held.add(entry)
        return entry

    def append(self, entry: KVEntry, token: int) -> None:
        """Note a sampled token; the next decode evaluates it."""
        self._rows.append(entry, token)

    def extend(self, entry: KVEntry, tokens: Sequence[int]) -> None:
        """Note sampled tokens, of which a decode has yet to evaluate the last."""
        self._rows.extend(entry, tokens)

    def advance(self, entry: KVEntry, n_tokens: int) -> None:
        """Note that a decode evaluated the entry's next ``n_tokens`` tokens."""
        self._counter.grow(entry, n_tokens)
        self._held = None
        self._copies.clear()

    def position_behind(self, seq_id: int) -> int | None:
        """Where ``seq_id`` has room for a token behind those evaluated; None where it has none."""
        entry = self._entries[seq_id]
        position = entry.n_evaluated if entry is not None else 0
        return position if position < self.n_cells_each else None

    def remove_behind(self, seq_id: int, position: int) -> None:
        """Drop cells from ``position`` on, of tokens that the cache was never told of."""
        if not self._memory.remove_cells(seq_id, position):
            raise LlamaError(f"sequence {seq_id} can't be cut back to {position} tokens")

    def replace(self, entry: KVEntry, tokens: TokenArray, n_kept: int) -> None:
        """Have ``entry`` go on with other ``tokens``; the first ``n_kept`` are those it had."""
        n_kept = min(n_kept, entry.n_evaluated) if self.can_cut else 0
        self.remove_behind(entry.seq_id, n_kept)
        self._counter.cut(entry, n_kept)
        self._held = None
        self._rows.set(entry, tokens)

    def finish(self, entry: KVEntry) -> None:
        """Keep the cells of a sequence that ended, as long as nobody needs them."""
        if self._shares_prefixes and entry.n_evaluated:
            entry.n_tokens = entry.n_evaluated
            self._finished[entry.seq_id] = entry
            self._held = None
            while self._keeps_too_much_beside(entry):
                self.evict_oldest()
        else:
            self.release(entry)

    def release(self, entry: KVEntry) -> None:
        """Give up the entry and its cells, also those that it was never told of."""
        self.on_release(entry)
        if not self._memory.remove_cells(entry.seq_id):
            raise LlamaError(f"the KV cells of sequence {entry.seq_id} can't be freed")
        if entry.seq_id not in self._finished or entry.sharers:
            self._held = None
        self._counter.cut(entry, 0)
        self._finished.pop(entry.seq_id, None)
        self._entries[entry.seq_id] = None
        self._free.append(entry.seq_id)

    def evict_oldest(self) -> bool:
        """Give up the finished entry used longest ago; False when there is none."""
        if not self._finished:
            return False
        self._evict(next(iter(self._finished.values())))
        return True

    def forget(self, tenant: str) -> None:
        """Give up the cells of a tenant's finished entries, and keep them nowhere else."""
        for entry in list(self._finished.values()):
            if isinstance(entry.salt, tuple) and entry.salt[0] == tenant:
                self.release(entry)

    def make_room(self, n_cells: int) -> None:
        """Evict finished entries until the pool has ``n_cells`` free cells."""
        while self.is_unified and self._finished and self.n_cells_free < n_cells:
            self.evict_oldest()

    def check_integrity(self) -> None:
        """Raise `AssertionError` where this bookkeeping and llama.cpp's memory disagree.

        Not between evaluating a batch and noting it.
        """
        entries = [entry for entry in self._entries if entry is not None]
        for seq_id, entry in enumerate(self._entries):
            n_cells = entry.n_evaluated if entry else 0
            expected = (0, n_cells - 1) if n_cells else (-1, -1)
            found = self._memory.positions(seq_id)
            assert found == expected, f"sequence {seq_id} has cells {found}, not {expected}"
            assert (entry is None) == (seq_id in self._free)
            if entry is not None and entry.source is not None:
                assert self._entries[entry.source.seq_id] is entry.source
                assert entry.source.salt in (entry.salt, COMMON)
                assert entry in entry.source.sharers
                assert 0 < entry.n_shared <= min(entry.n_evaluated, entry.source.n_evaluated)
        n_used = sum(entry.n_own for entry in entries)
        assert n_used == self._counter.n_used == self._counter.n_held(entries) <= self.n_cells

    def _place(self, source: KVEntry | None, n_shared: int, n_next: int = 0) -> int:
        """The sequence id for a new sequence that shares ``n_shared`` tokens with ``source``."""
        allowed: Collection[int] = range(len(self._entries))
        if not self.is_unified and self.n_entries_running:
            running = [each.seq_id for each in self._running()]
            allowed = beside(running)
            if source is not None and self._is_continued(source, n_shared):
                allowed = {*allowed, source.seq_id}.intersection(beside(running, n_next))
        vacant = reversed(self._free)
        return place(
            source,
            is_continued=source is not None and self._is_continued(source, n_shared),
            vacant=vacant,
            finished=self._finished,
            allowed=allowed,
        )

    def _is_continued(self, source: KVEntry, n_shared: int) -> bool:
        """Whether a sequence that shares ``n_shared`` tokens with ``source`` goes on behind them.

        Without a pool, where both have cells of their own, also if ``source`` ends with a few other
        ones: an answer that is sent back may have other tokens than those sampled. Not where it has
        little more in common than the beginning of a template.
        """
        n_lost = 1 if self.is_unified else max(min(n_shared // 2, _WORTH_KEEPING), 1)
        return source.n_evaluated - n_shared <= n_lost

    def _note_use(self, source: KVEntry, n_shared: int) -> None:
        """Let a finished entry stay longer, if what it saves is worth it."""
        is_worth_it = n_shared >= min(_WORTH_KEEPING, source.n_evaluated // 2)
        if is_worth_it and source.seq_id in self._finished:
            self._finished.move_to_end(source.seq_id)

    def _evict(self, entry: KVEntry) -> None:
        self._keep_elsewhere(entry)
        self.release(entry)

    def _keep_elsewhere(self, entry: KVEntry) -> None:
        """Let what is in an entry's cells be kept, if it is already there."""
        if entry.seq_id not in self._copies.targets:
            self.on_evict(entry)

    def _make_way(self, seq_id: int, source: KVEntry | None) -> None:
        """Move the finished entry that a new one takes the place of, if another is older.

        Which place that is depends on what runs, and says nothing of who will be missed.
        """
        entry = self._finished.get(seq_id)
        if entry is None or entry.n_evaluated < 2 * self._least_copied:
            return
        if self._free:
            vacant = self._free[-1]
        else:
            oldest = next(each for each in self._finished.values() if each is not source)
            if oldest is entry:
                return
            vacant = oldest.seq_id
            self._evict(oldest)
        self._move(entry, vacant)

    def _move(self, entry: KVEntry, seq_id: int) -> None:
        """Give a finished entry's cells to ``seq_id``, which nobody has."""
        moved = KVEntry(seq_id, entry.salt)
        self._rows.set(moved, self.tokens(entry, 0, entry.n_evaluated))
        if not self._memory.share_cells(entry.seq_id, seq_id, entry.n_evaluated):
            self._memory.remove_cells(seq_id)
            return
        self._free.remove(seq_id)
        self._entries[seq_id] = moved
        self._counter.grow(moved, entry.n_evaluated)
        self._copies.add(entry.seq_id, moved.seq_id)
        ages = [moved if each is entry else each for each in self._finished.values()]
        self.release(entry)
        self._finished = OrderedDict((each.seq_id, each) for each in ages)

    def _place_for_state(self) -> int | None:
        """Where a state may be written, which comes before copies that are still to be made."""
        seq_id = self._place(None, 0)
        if seq_id not in self._copies:
            return seq_id
        others = chain(reversed(self._free), self._finished)
        return next((each for each in others if each not in self._copies), None)

    def _restore(self, prompt: TokenArray, state: Bytes, n_state: int) -> KVEntry | None:
        """A new entry with the cells of ``state``, or an empty one where there is no room.

        None where there are no other cells than those that are still to be copied.
        """
        self.make_room(n_state)
        seq_id = self._place_for_state()
        if seq_id is None:
            return None
        entry = self._new_entry(seq_id)
        if not self._memory.write_state(entry.seq_id, state):
            return entry
        n_kept = min(n_state, len(prompt) - 1)
        if n_kept < n_state and not self._memory.remove_cells(entry.seq_id, n_kept):
            raise LlamaError(f"sequence {entry.seq_id} can't be cut back to {n_kept} tokens")
        self._counter.grow(entry, n_kept)
        entry.n_restored = n_kept
        return entry

    def _new_entry(self, seq_id: int) -> KVEntry:
        if seq_id in self._finished:
            self._evict(self._finished[seq_id])
        self._free.remove(seq_id)
        entry = KVEntry(seq_id)
        self._entries[seq_id] = entry
        return entry

    def _running(self) -> list[KVEntry]:
        return [e for e in self._entries if e is not None and e.seq_id not in self._finished]

    def _keeps_too_much_beside(self, newest: KVEntry) -> bool:
        """Whether finished entries have too many cells that neither running ones nor it have."""
        n_used = self._counter.n_used
        if not self.is_unified or n_used <= _MAX_FINISHED_CELLS:
            return False
        return n_used - self._counter.n_held([*self._running(), newest]) > _MAX_FINISHED_CELLS

    def _share(self, source: KVEntry, target: KVEntry, n_shared: int) -> None:
        if not self._memory.share_cells(source.seq_id, target.seq_id, n_shared):
            self._memory.remove_cells(target.seq_id)  # all of the prompt is evaluated
        elif self.is_unified:
            target.n_evaluated = n_shared
            target.share_from(source, n_shared)
        else:
            self._counter.grow(target, n_shared)
            self._copies.add(source.seq_id, target.seq_id)
            is_there_twice = self._is_continued(source, n_shared) and source.salt != COMMON
            if is_there_twice and source.seq_id in self._finished:
                self._finished.move_to_end(source.seq_id, last=False)

    def _take_over(self, source: KVEntry, n_shared: int) -> KVEntry:
        """Continue a finished entry, cut back to the shared prefix."""
        if n_shared < source.n_evaluated:
            if source.n_evaluated - n_shared >= _WORTH_KEEPING_STATE:
                self._keep_elsewhere(source)
            if not self._memory.remove_cells(source.seq_id, n_shared):
                return self._new_entry(source.seq_id)
            if source.sharers:
                self._held = None
            self._counter.cut(source, n_shared)
        del self._finished[source.seq_id]
        source.n_restored = 0
        return source

    def _longest_prefix(self, prompt: TokenArray, salt: Hashable) -> tuple[KVEntry | None, int]:
        """See `TokenRows.longest_prefix`."""
        if not self._shares_prefixes:
            return None, 0
        return self._rows.longest_prefix(prompt, salt, self._entries)
