"""Finding the completions of a page: the shards' lists, joined and merged."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice

from shared.storage.dynamodb.cursor import Cursor, Span, intersect
from shared.storage.dynamodb.items import Entry, Item, entry_key, is_live, item_id
from shared.storage.dynamodb.keys import N_SHARDS, Partitions
from shared.storage.dynamodb.retries import Budget
from shared.storage.dynamodb.table import MAX_BATCH, Table
from shared.storage.id_range import id_range
from shared.storage.types import CompletionQuery

_LONGEST_BOUND = 200
"""Of ids, in characters: they have fewer themselves, and sort keys take up to 1,024 bytes."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a query finds, from its cursor on and beyond its limit, read as it is asked for.

    A little more than a page is read at once, the shards at the same time in ``threads``.
    ``now`` is when completions must not have expired yet, in seconds since 1970.
    """

    table: Table
    threads: Executor
    budget: Budget
    query: CompletionQuery
    now: float

    def entries(self) -> Iterator[Entry]:
        """The completions in order. Raises AWS's errors and `StoreError`."""
        start, end = (bound[:_LONGEST_BOUND] for bound in id_range(self.query))
        if start >= end:
            return
        span = Span(start, end, descending=self.query.order == "desc")
        # All shards have begun to be read before the first is waited for.
        shards = [self._shard(span, shard) for shard in range(N_SHARDS)]
        items: Iterator[Item] = heapq.merge(*shards, key=item_id, reverse=span.descending)
        if self.query.model is not None or self.query.metadata:
            items = self._entry_items(items)
        for item in items:
            entry = Entry.from_item(self._partitions, item)
            # The index was read before the entry, which may have changed since.
            if entry.matches(self.query):
                yield entry

    @property
    def _partitions(self) -> Partitions:
        return Partitions(self.query.tenant, self.query.kind)

    @property
    def _wanted(self) -> int:
        """The page, and one behind it that shows that there is more."""
        return self.query.limit + 1

    def _shard(self, span: Span, shard: int) -> Iterator[Item]:
        """A shard's items, which a thread begins to read now."""
        page = _share(self._wanted)
        items = intersect(
            [
                Cursor(self.table, self.budget, partition, span, page=page, now=self.now)
                for partition in self._lists(shard)
            ]
        )
        head = self.threads.submit(lambda: list(islice(items, page)))

        def all_items() -> Iterator[Item]:
            yield from head.result()
            yield from items

        return all_items()

    def _lists(self, shard: int) -> list[str]:
        """The partitions that have the ids of a shard: those of each filter, or that of all."""
        query = self.query
        lists = [self._partitions.of_pair(*pair, shard) for pair in query.metadata.items()]
        if query.model is not None:
            lists.append(self._partitions.of_model(query.model, shard))
        return lists or [self._partitions.entries(shard)]

    def _entry_items(self, index: Iterator[Item]) -> Iterator[Item]:
        """The entries that index items point to, as far as they are still there.

        As many as are wanted at first, then one by one: a page is nearly always full by then.
        """
        left = self._wanted
        while chunk := list(islice(index, min(max(left, 1), MAX_BATCH))):
            ids = [item_id(item) for item in chunk]
            left -= len(ids)
            found = self.table.get_all(self.budget, [entry_key(self._partitions, i) for i in ids])
            by_id = {item_id(item): item for item in found if is_live(item, self.now)}
            yield from (by_id[i] for i in ids if i in by_id)


def _share(wanted: int) -> int:
    """How many of ``wanted`` a shard is asked for at once: its share, and a standard deviation.

    The shards of successive ids are random, so what one of them has of a page is binomial.
    """
    share = 1 / N_SHARDS
    return math.ceil(wanted * share + math.sqrt(wanted * share * (1 - share)))
