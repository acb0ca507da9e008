"""Context of a draft model: KV cells that follow the tokens of the sequences that it drafts for.

A sequence has the same id here as in the target model's cache, and its cells for as long as that
keeps its entry. What was rejected, or dropped by context shift, is found by comparing tokens. So
nothing has to be told when a sequence is preempted, cut back or continued by another prompt. Who
begins alike is found so, too, and shares: the prompt of several choices is evaluated once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

import numpy as np

from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.context import Batch, Context, KVCacheFullError, LogitsArray
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.sequence import Sequence, running_entry


@dataclass(frozen=True, slots=True)
class Piece:
    """The next tokens of an entry that are evaluated; the last ``n_outputs`` get logits."""

    entry: KVEntry
    tokens: TokenArray
    n_outputs: int


class DraftContext:
    """The cells of a draft model. Of the engine's thread."""

    def __init__(self, context: Context, kv: KVCache, least_shared: int) -> None:
        """``kv``: the target's cache, whose entries are followed.

        ``least_shared``: tokens that another sequence's cells have to save.
        """
        self._context = context
        self._kv = kv
        self._batch = Batch(context.n_batch)
        self.n_vocab = context.model.n_vocab
        self.n_tokens_most = min(context.n_ctx_seq, context.model.n_ctx_train)
        """Tokens that a sequence may have here."""
        self.n_batch = context.n_batch
        self.is_unified = context.is_unified
        self._least_shared = least_shared
        self._rows = np.zeros((kv.n_places, context.n_ctx_seq), dtype=np.int32)
        self._n_cells = [0] * kv.n_places
        self._salts: list[Hashable] = [None] * kv.n_places
        """Whose prefixes each sequence's cells are."""
        kv.on_release = self.drop

    def lacking(self, entry: KVEntry, *, shares: bool = True) -> int | None:
        """Known tokens of ``entry`` without cells here, at least its last one.

        Cells of other tokens are given up, and those of a sequence that begins alike shared, unless
        ``shares`` is False. None where the draft model can't follow: there are too many tokens, or
        some that it doesn't know.
        """
        if entry.n_tokens > self.n_tokens_most:
            self.drop(entry)
            return None
        seq_id = entry.seq_id
        n_cells = self._n_cells[seq_id]
        tokens = self._kv.tokens(entry, 0, entry.n_tokens)
        n_same = self._n_same(seq_id, tokens)
        if n_same < n_cells:
            self._cut(seq_id, n_same)
        if int(tokens[n_same:].max()) >= self.n_vocab:
            return None
        if shares and entry.n_tokens - n_same > self._least_shared:
            n_same = self._share(entry, tokens, n_same)
        return entry.n_tokens - n_same

    def lacking_of(self, sequence: Sequence) -> int | None:
        """The same of a running sequence, by what its request lets it share."""
        shares = sequence.request.cache_prompt or sequence.choice > 0
        return self.lacking(running_entry(sequence), shares=shares)

    def next_piece(self, entry: KVEntry, n_tokens: int, n_outputs: int) -> Piece:
        """The next ``n_tokens`` of what is `lacking`."""
        start = self._n_cells[entry.seq_id]
        return Piece(entry, self._kv.tokens(entry, start, start + n_tokens), n_outputs)

    def give_up(self, entry: KVEntry, n_tokens: int) -> None:
        """Let the last ``n_tokens`` that have cells be lacking, too."""
        self._cut(entry.seq_id, self._n_cells[entry.seq_id] - n_tokens)

    def evaluate(self, pieces: Collection[Piece]) -> LogitsArray:
        """Evaluate tokens of several entries; the logits that were asked for, in order.

        Others give up their cells where there are too few. Raises `LlamaError`, among them
        `KVCacheFullError`, with all cells as they were.
        """
        self._batch.clear()
        n_outputs = 0
        for piece in pieces:
            start = self._n_cells[piece.entry.seq_id]
            n_plain = len(piece.tokens) - piece.n_outputs
            seq_id = piece.entry.seq_id
            self._batch.add_chunk(piece.tokens[:n_plain], start, seq_id, outputs="none")
            self._batch.add_chunk(piece.tokens[n_plain:], start + n_plain, seq_id, outputs="all")
            n_outputs += piece.n_outputs
        try:
            self._context.decode(self._batch)
        except KVCacheFullError:
            needed = {piece.entry.seq_id for piece in pieces}
            if not any(n for seq_id, n in enumerate(self._n_cells) if seq_id not in needed):
                raise
            for seq_id in range(len(self._n_cells)):
                if seq_id not in needed:
                    self._cut(seq_id, 0)
            self._context.decode(self._batch)
        for piece in pieces:
            seq_id = piece.entry.seq_id
            start, end = self._n_cells[seq_id], self._n_cells[seq_id] + len(piece.tokens)
            self._rows[seq_id, start:end] = piece.tokens
            self._n_cells[seq_id] = end
            self._salts[seq_id] = piece.entry.salt
        if not n_outputs:
            return np.empty((0, self.n_vocab), dtype=np.float32)
        return self._context.logits(n_outputs)

    def drop(self, entry: KVEntry) -> None:
        """Give up the cells of an entry."""
        self._cut(entry.seq_id, 0)

    def call_before_decodes(self, function: Callable[[], None]) -> None:
        """Have it called right before each decode, see `Context.before_decode`."""
        self._context.before_decode = function

    def check_integrity(self) -> None:
        """Raise `AssertionError` where this bookkeeping and llama.cpp's memory disagree."""
        for seq_id, n_cells in enumerate(self._n_cells):
            expected = (0, n_cells - 1) if n_cells else (-1, -1)
            found = self._context.positions(seq_id)
            assert found == expected, f"draft sequence {seq_id} has cells {found}, not {expected}"

    def close(self) -> None:
        """Free the context."""
        self._kv.on_release = lambda _: None
        self._context.close()

    def _n_same(self, seq_id: int, tokens: TokenArray) -> int:
        """How many of the first cells of a sequence are of ``tokens``, all but the last one."""
        n_compared = min(self._n_cells[seq_id], len(tokens) - 1)
        differs = tokens[:n_compared] != self._rows[seq_id, :n_compared]
        return int(differs.argmax()) if differs.any() else n_compared

    def _share(self, entry: KVEntry, tokens: TokenArray, n_own: int) -> int:
        """Let ``entry`` begin with the cells of another sequence, if that saves enough.

        Returns how many of its tokens have cells then, ``n_own`` before. Nothing is shared among
        those that share nothing in the target's cache.
        """
        source, n_most = None, n_own + self._least_shared - 1
        for seq_id, n_cells in enumerate(self._n_cells):
            if n_cells > n_most and self._salts[seq_id] == entry.salt:
                n_same = self._n_same(seq_id, tokens)
                if n_same > n_most:
                    source, n_most = seq_id, n_same
        if source is None:
            return n_own
        seq_id = entry.seq_id
        self._cut(seq_id, 0)
        if not self._context.share_cells(source, seq_id, n_most):
            raise LlamaError(f"draft sequence {source} can't be shared")
        self._rows[seq_id, :n_most] = tokens[:n_most]
        self._n_cells[seq_id], self._salts[seq_id] = n_most, entry.salt
        return n_most

    def _cut(self, seq_id: int, n_cells: int) -> None:
        if self._n_cells[seq_id] == n_cells:
            return
        if not self._context.remove_cells(seq_id, n_cells):
            raise LlamaError(f"draft sequence {seq_id} can't be cut back to {n_cells} tokens")
        self._n_cells[seq_id] = n_cells
