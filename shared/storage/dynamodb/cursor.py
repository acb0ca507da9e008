"""Sorted lists of items that are read as far as they are needed, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.storage.dynamodb.items import Item, is_live, item_id
from shared.storage.dynamodb.retries import Budget
from shared.storage.dynamodb.table import Table

_SMALLEST_PAGE = 2
_LARGEST_PAGE = 1000


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

    Items are read in pages, ``page`` of them at first. The pages grow while all that they hold is
    looked at, and shrink when most of it is jumped over: reading follows what is needed, whether
    the items are wanted one after the other or here and there. Expired ones are passed over.
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
        self._last: str | None = None
        self._is_last = False

    def seek(self, target: str | None = None) -> Item | None:
        """The first item from here on that is at or behind ``target``, None if there is none."""
        while True:
            start = self._position
            while self._position < len(self._items):
                item = self._items[self._position]
                if target is None or not self._span.precedes(item_id(item), target):
                    return item
                self._position += 1
            if self._is_last:
                return None
            self._read(target, was_jump=self._position - start > 1)

    def next(self) -> Item | None:
        """The item that follows the one found last, None if there is none."""
        self._position += 1
        return self.seek()

    def _read(self, target: str | None, *, was_jump: bool) -> None:
        if was_jump:
            self._page = max(self._page // 2, _SMALLEST_PAGE)
        elif self._last is not None:
            self._page = min(self._page * 2, _LARGEST_PAGE)
        page = self._table.query(
            self._budget,
            self._partition,
            self._span.bounds(target),
            limit=self._page,
            descending=self._span.descending,
            behind=self._last if target is None else None,
        )
        self._is_last = page.is_last
        if page.items:
            self._last = item_id(page.items[-1])
        self._items = [
            item
            for item in page.items
            # DynamoDB's bounds are inclusive.
            if item_id(item) < self._span.end and is_live(item, self._now)
        ]
        self._position = 0


def intersect(cursors: Sequence[Cursor]) -> Iterator[Item]:
    """The items whose ids all cursors have, in order, as the last cursor has them.

    A leapfrog join (Veldhuizen, "Leapfrog Triejoin", 2014): each cursor in turn seeks what the one
    before has found, until all stand at the same id. It reads less than the shortest of the lists
    would suggest, wherever their ids lie apart.
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
