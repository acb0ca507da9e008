"""Listing of completions: the shards' lists, filtered and merged."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from itertools import islice

from shared.storage.base import DamagedCompletionError
from shared.storage.dynamodb.cursor import Cursor, Span, intersect
from shared.storage.dynamodb.items import Entry, Item, entry_key, is_live, item_id
from shared.storage.dynamodb.keys import N_SHARDS, Partitions
from shared.storage.dynamodb.retries import Budget
from shared.storage.dynamodb.table import MAX_BATCH, Table
from shared.storage.id_range import id_range
from shared.storage.types import CompletionQuery

FoundEntry = Entry | DamagedCompletionError
"""An entry, or what is wrong with it."""

_LONGEST_BOUND = 200
"""Of ids, in characters: they have fewer themselves, and sort keys take up to 1,024 bytes."""

_MISSES_PER_MATCH = 8
"""How many candidates may be looked at for each that matches, before lists are joined instead."""
_FIRST_CANDIDATES = 16
"""How many candidates are looked at before that is judged."""


class Listing:
    """What a query finds, from its cursor on and beyond its limit, read as it is asked for.

    A little more than a page is read at once, the shards at the same time in ``threads``.
    Completions must not have expired by ``now``, in seconds since 1970.

    Without a filter, the shards' entries are merged. With filters, each of them has a list of ids.
    The *candidates* are those of the shortest list; their entries, which a page needs anyway, say
    whether the other filters let them through. Where hardly any does, the lists are joined first:
    keys are small, and several are read for the price of one entry.
    """

    def __init__(
        self, table: Table, threads: Executor, budget: Budget, query: CompletionQuery, now: float
    ) -> None:
        self._table = table
        self._threads = threads
        self._budget = budget
        self._query = query
        self._now = now
        self._partitions = Partitions(query.tenant, query.kind)
        self._wanted = query.limit + 1  # the one behind the page shows that there is more
        self._joins = False

    def entries(self) -> Iterator[FoundEntry]:
        """The completions in order. Raises AWS's errors and `StoreError`."""
        start, end = (bound[:_LONGEST_BOUND] for bound in id_range(self._query))
        if start >= end:
            return
        span = Span(start, end, descending=self._query.order == "desc")
        shards = [self._cursors(span, shard) for shard in range(N_SHARDS)]
        if len(shards[0]) > 1:
            self._put_shortest_first(shards, span)
        # All shards have begun to be read before the first is waited for.
        streams = [self._head_start(self._candidates(cursors)) for cursors in shards]
        items: Iterator[Item] = heapq.merge(*streams, key=item_id, reverse=span.descending)
        if self._query.model is None and not self._query.metadata:
            yield from map(self._entry, items)
        else:
            yield from self._matches(items)

    @property
    def _share(self) -> int:
        """How many items a shard is asked for at once: its share, and a standard deviation.

        The shards of successive ids are random, so what one of them has of a page is binomial.
        """
        share = 1 / N_SHARDS
        return math.ceil(self._wanted * share + math.sqrt(self._wanted * share * (1 - share)))

    def _cursors(self, span: Span, shard: int) -> list[Cursor]:
        """A shard's lists: one for each filter, or that of all entries."""
        names = [self._partitions.of_pair(*pair, shard) for pair in self._query.metadata.items()]
        if self._query.model is not None:
            names.append(self._partitions.of_model(self._query.model, shard))
        return [
            Cursor(self._table, self._budget, name, span, page=self._share, now=self._now)
            for name in names or [self._partitions.entries(shard)]
        ]

    def _put_shortest_first(self, shards: Sequence[list[Cursor]], span: Span) -> None:
        """Order the lists of all shards by how far as many ids reach in the first shard.

        All shards are alike. Lists that end within the first page come first of all.
        """
        sample = shards[0]
        list(self._threads.map(Cursor.seek, sample))
        ends = [cursor.last or span.start for cursor in sample]
        order = sorted(range(len(sample)), key=ends.__getitem__, reverse=not span.descending)
        order.sort(key=lambda number: not sample[number].is_read)
        for cursors in shards:
            cursors[:] = [cursors[number] for number in order]

    def _candidates(self, cursors: Sequence[Cursor]) -> Iterator[Item]:
        """A shard's items of the shortest list, or of what all lists have in common."""
        item = cursors[0].seek()
        while item is not None:
            if self._joins:
                yield from intersect(cursors)
                return
            yield item
            item = cursors[0].next()

    def _head_start(self, items: Iterator[Item]) -> Iterator[Item]:
        """``items``, the first of which a thread begins to read now."""
        head = self._threads.submit(lambda: list(islice(items, self._share)))

        def all_items() -> Iterator[Item]:
            yield from head.result()
            yield from items

        return all_items()

    def _matches(self, candidates: Iterator[Item]) -> Iterator[FoundEntry]:
        """The candidates' entries that all filters let through, and those that can't be read."""
        n_candidates = n_matches = 0
        size = self._wanted
        while chunk := list(islice(candidates, min(size, MAX_BATCH))):
            for entry in self._live_entries([item_id(item) for item in chunk]):
                if isinstance(entry, DamagedCompletionError):
                    yield entry
                # Of one filter, too: the metadata may have changed since its list was read.
                elif entry.matches(self._query):
                    n_matches += 1
                    yield entry
            n_candidates += len(chunk)
            size = max(self._wanted - n_matches, 1)
            if n_matches * _MISSES_PER_MATCH >= n_candidates:
                size = math.ceil(size * n_candidates / n_matches)
            elif n_candidates < _FIRST_CANDIDATES:
                size = _FIRST_CANDIDATES
            else:
                self._joins = True

    def _live_entries(self, ids: Sequence[str]) -> Iterator[FoundEntry]:
        """The entries that are there, in the order of ``ids``."""
        keys = [entry_key(self._partitions, completion_id) for completion_id in ids]
        found = self._table.get_all(self._budget, keys)
        by_id = {item_id(item): item for item in found if is_live(item, self._now)}
        for completion_id in ids:
            if completion_id in by_id:
                yield self._entry(by_id[completion_id])

    def _entry(self, item: Item) -> FoundEntry:
        try:
            return Entry.from_item(self._partitions, item, self._table.name)
        except DamagedCompletionError as damage:
            return damage
