"""Sorted lists of items that are read as far as they are needed, and their intersection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.storage.dynamodb.items import Item, is_live, item_id
from shared.storage.dynamodb.retries import Budget
from shared.storage.dynamodb.table import Table

_SMALLEST_PAGE = 32
"""Of those that follow the first: so many keys are read for one unit, fewer cost the same."""
_LARGEST_PAGE = 256
_STOPS_TO_GROW = 4
"""So often within a page: the distances are short, reading on is cheaper than jumping."""


@dataclass(frozen=True, slots=True)
class Span:
    """The ids from ``start`` (inclusive) to ``end`` (exclusive), upwards or downwards."""

    start: str
    end: str
    descending: bool

    def precedes(self, first: str, second: str) -> bool:
        """Whether ``first`` comes before ``second``."""
        return first > second if self.descending else first < second

    def bounds(self, target: str | None) -> tuple[str, str]:
        """The least and the greatest id at or behind ``target``, None for all of the span."""
        if target is None:
            return self.start, self.end
        return (self.start, target) if self.descending else (target, self.end)


class Cursor:
    """A place in a partition's items, which moves in the direction of ``span``.

    Items are read in pages, ``page`` of them at first. Pages grow while several of their items are
    looked at, and shrink when all but one are jumped over. Expired items are passed over.
    """

    def __init__(
        self, table: Table, budget: Budget, partition: str, span: Span, *, page: int, now: float
    ) -> None:
        self._table = table
        self._budget = budget
        self._partition = partition
        self._span = span
        self._page = page
        self._now = now
        self._items: Sequence[Item] = ()
        self._position = 0
        self._stops: set[int] = set()
        self.last: str | None = None
        """The last id that was read."""
        self.is_read = False
        """Whether there is nothing behind `last`."""

    def seek(self, target: str | None = None) -> Item | None:
        """The first item from here on that is at or behind ``target``, None if there is none."""
        while True:
            while self._position < len(self._items):
                item = self._items[self._position]
                if target is None or not self._span.precedes(item_id(item), target):
                    self._stops.add(self._position)
                    return item
                self._position += 1
            if self.is_read:
                return None
            self._read(target)

    def next(self) -> Item | None:
        """The item that follows the one found last, None if there is none."""
        self._position += 1
        return self.seek()

    def _read(self, target: str | None) -> None:
        if self.last is not None:
            self._page = self._next_page()
        page = self._table.query(
            self._budget,
            self._partition,
            self._span.bounds(target),
            limit=self._page,
            descending=self._span.descending,
            behind=self.last if target is None else None,
        )
        self.is_read = page.is_last
        if page.items:
            self.last = item_id(page.items[-1])
        self._items = [
            item
            for item in page.items
            # DynamoDB's bounds are inclusive.
            if item_id(item) < self._span.end and is_live(item, self._now)
        ]
        self._position = 0
        self._stops.clear()

    def _next_page(self) -> int:
        n_stops = len(self._stops)
        if n_stops >= min(len(self._items) / 2, _STOPS_TO_GROW):
            return min(2 * self._page, _LARGEST_PAGE)
        return max(self._page // (2 if n_stops <= 1 else 1), _SMALLEST_PAGE)


def intersect(cursors: Sequence[Cursor]) -> Iterator[Item]:
    """The items whose ids all cursors have, in order, from where they stand.

    A leapfrog join (Veldhuizen, "Leapfrog Triejoin", 2014): each cursor in turn seeks what the one
    before has found, until all stand at the same id. Where the ids of lists lie apart, it jumps.
    """
    item = cursors[0].seek()
    while item is not None:
        target = item_id(item)
        for cursor in cursors:
            item = cursor.seek(item_id(item))
            if item is None:
                return
        if item_id(item) == target:
            yield item
            item = cursors[0].next()
