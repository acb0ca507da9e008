"""Search for the longest shared prefix: the tokens of all KV entries, one row per sequence id.

Comparing a prompt with the first tokens of all rows at once leaves few to be compared in full.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.prefixes.prompt import COMMON

_HEAD = 32
"""Tokens compared for all entries at once, before the few that match are compared in full."""

_WORTH_WAITING = 64
"""A shared prefix being evaluated right now is waited for when it saves at least so many tokens."""


class PrefixBusyError(Exception):
    """Another sequence is evaluating a prefix that this prompt can share in a moment."""


class TokenRows:
    """The known tokens of each KV entry, and the entry that has most of a prompt's."""

    def __init__(self, n_seq_max: int, n_ctx_seq: int) -> None:
        self._rows = np.zeros((n_seq_max, n_ctx_seq), dtype=np.int32)
        self._heads = np.zeros((n_seq_max, min(_HEAD, n_ctx_seq)), dtype=np.int32)
        """The beginnings again, side by side: in the rows they are so far from each other that they
        take each other's places in the processor's caches."""
        self._different = np.empty((n_seq_max, _HEAD + 1), dtype=np.bool_)

    def of(self, entry: KVEntry, start: int, end: int) -> TokenArray:
        """The known tokens of ``entry`` from ``start`` to ``end`` (a view)."""
        return self._rows[entry.seq_id, start:end]

    def set(self, entry: KVEntry, prompt: TokenArray) -> None:
        """Note what ``entry`` is to evaluate."""
        self._rows[entry.seq_id, : len(prompt)] = prompt
        self._heads[entry.seq_id, : len(prompt)] = prompt[:_HEAD]
        entry.n_tokens = len(prompt)

    def append(self, entry: KVEntry, token: int) -> None:
        """Note one more."""
        self._rows[entry.seq_id, entry.n_tokens] = token
        if entry.n_tokens < _HEAD:
            self._heads[entry.seq_id, entry.n_tokens] = token
        entry.n_tokens += 1

    def extend(self, entry: KVEntry, tokens: Sequence[int]) -> None:
        """Note several more."""
        if len(tokens) == 1 or entry.n_tokens < _HEAD:
            for token in tokens:
                self.append(entry, token)
        else:
            end = entry.n_tokens + len(tokens)
            self._rows[entry.seq_id, entry.n_tokens : end] = tokens
            entry.n_tokens = end

    def longest_prefix(
        self, prompt: TokenArray, salt: Hashable, entries: Sequence[KVEntry | None]
    ) -> tuple[KVEntry | None, int]:
        """The entry with the longest evaluated prefix of ``prompt``, and its length in tokens.

        ``entries``: by sequence id; only those of ``salt`` or for everybody count. Raises
        `PrefixBusyError` where one that evaluates more is worth waiting for.
        """
        longest = len(prompt) - 1
        if longest < 1:
            return None, 0
        head = min(longest, _HEAD)
        different = self._different[:, : head + 1]
        np.not_equal(self._heads[:, :head], prompt[:head], out=different[:, :head])
        different[:, head] = True  # where a row has no other difference
        best, n_best, n_soon = None, 0, 0
        goes_on = _NextTokens(self._rows, prompt)
        for entry, n_first in zip(entries, different.argmax(axis=1).tolist(), strict=True):
            is_longer = n_first == head < longest
            if n_first <= n_best and not is_longer:
                continue  # as most of those that have no more than the BOS token
            if entry is None:
                continue
            n_least = n_best if entry.n_evaluated > n_best else n_soon
            if n_first <= n_least and not is_longer:
                continue  # as where those of the same beginning are not evaluated yet
            if is_longer and (entry.n_tokens <= n_least or not goes_on.at(n_least)[entry.seq_id]):
                continue  # as most of those that have a long beginning in common, say a template's
            if entry.salt not in (salt, COMMON):
                continue
            n_equal = self._common_prefix(entry, prompt[:longest]) if is_longer else n_first
            n_known = min(n_equal, entry.n_tokens)
            n_ready = min(n_known, entry.n_evaluated)
            n_soon = max(n_soon, n_known)
            if n_ready > n_best:
                best, n_best = entry, n_ready
                if n_best == longest:  # as for all but the first of a request's choices
                    break
        if n_soon - n_best >= _WORTH_WAITING:
            raise PrefixBusyError
        return best, n_best

    def _common_prefix(self, entry: KVEntry, prompt: TokenArray) -> int:
        length = min(entry.n_tokens, len(prompt))
        different = self._rows[entry.seq_id, :length] != prompt[:length]
        first = int(different.argmax()) if length else 0
        return first if length and different[first] else length


class _NextTokens:
    """Which rows have the token of a prompt at a position, asked for all rows at once."""

    def __init__(self, rows: TokenArray, prompt: TokenArray) -> None:
        self._rows, self._prompt = rows, prompt
        self._position = -1
        self._found: list[bool] = []

    def at(self, position: int) -> list[bool]:
        """By sequence id."""
        if position != self._position:
            self._position = position
            self._found = (self._rows[:, position] == self._prompt[position]).tolist()
        return self._found
