"""Records of accounts in a DynamoDB table: that of the completions.

One table has to be created, permitted, backed up and restored then, and what it is restored to is
of one moment. Their partitions can't meet: those of completions have two ``#`` or more.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.accounts.records import Place, Record, Records
from shared.storage.base import StoreError
from shared.storage.dynamodb.clients import Clients
from shared.storage.dynamodb.items import Item
from shared.storage.dynamodb.recent_writes import RecentWrites
from shared.storage.dynamodb.retries import Budget, RetryPolicy, as_store_errors
from shared.storage.dynamodb.setup import ensure_table
from shared.storage.dynamodb.table import Table

if TYPE_CHECKING:
    import boto3

_PREFIX = "accounts#"
_LONGEST_PARTITION, _LONGEST_KEY = 2048, 1024
"""Bytes that DynamoDB takes; it refuses requests with more."""
_LONGEST_CURSOR = 200
"""Characters of a cursor that count: more than any key has."""
_MOST_REMEMBERED = 2000
"""Records whose last writes are remembered, a quarter of a kilobyte each."""
_FIRST, _LAST = "\0", "\U0010ffff"
"""Characters before and after all that keys have."""


class DynamoDBRecords(Records):
    """Keeps records in ``table``; the other arguments are `DynamoDBStore`'s."""

    def __init__(
        self,
        table: str,
        *,
        retries: RetryPolicy | None = None,
        session: boto3.session.Session | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        self._policy = retries or RetryPolicy()
        self._clients = Clients(self._policy, session, endpoint_url)
        self._table = Table(self._clients, table)
        self._writes: OrderedDict[Place, tuple[int, RecentWrites]] = OrderedDict()
        self._lock = threading.Lock()

    def get_all(self, places: Sequence[Place]) -> dict[Place, Record]:
        """See `Records.get_all`."""
        places = [place for place in places if _can_be(place)]
        if not places:
            return {}
        with self._operation() as budget:
            if len(places) == 1:  # half the work for botocore
                item = self._table.get(budget, _key(places[0]))
                items = [] if item is None else [item]
            else:
                items = self._table.get_all(budget, [_key(place) for place in places])
            records = [self._record(item) for item in items]
        return {record.place: record for record in records}

    def list(
        self,
        partition: str,
        prefix: str,
        *,
        limit: int,
        after: str | None = None,
        descending: bool = False,
    ) -> Sequence[Record]:
        """See `Records.list`."""
        if not _can_be(Place(partition, _FIRST)):
            return []
        after = None if after is None else after[:_LONGEST_CURSOR]
        low, high = prefix or _FIRST, prefix + _LAST
        if after is not None and not low <= after <= high:  # where DynamoDB would not begin
            if (after > high) != descending:
                return []
            after = None
        found: list[Record] = []
        with self._operation() as budget:
            while len(found) < limit:
                page = self._table.query(
                    budget,
                    _PREFIX + partition,
                    (low, high),
                    limit=limit - len(found),
                    descending=descending,
                    behind=after,
                )
                found += map(self._record, page.items)
                if page.is_last:
                    break
                after = found[-1].place.key  # a page has 1 MB
        return found

    def write(self, puts: Sequence[Record], removals: Sequence[Record] = ()) -> bool:
        """See `Records.write`."""
        table = self._table
        written = [self._writes_of(put).followed_by_new() for put in puts]
        if len(puts) == 1 and not removals:
            (put,), (writes,) = puts, written
            with self._operation() as budget:
                is_made = table.put_one(budget, _item(put, writes), put.version, writes)
        else:
            items = [(_item(r, writes), r.version) for r, writes in zip(puts, written, strict=True)]
            changes = [
                table.replacement(item, version) if version else table.addition(item)
                for item, version in items
            ]
            changes += [table.removal(_key(r.place), r.version) for r in removals]
            with self._operation() as budget:
                is_made = table.write(budget, changes)
        if is_made:
            for put, writes in zip(puts, written, strict=True):
                self._remember(put.place, put.version + 1, writes)
        return is_made

    def initialize(self) -> None:
        """See `Records.initialize`."""
        with as_store_errors(f"table {self._table.name}"):
            self._clients.check_open()
            ensure_table(self._clients, self._policy, self._table.name)

    def warm_up(self) -> None:
        """See `Records.warm_up`."""
        with self._operation():
            self._clients.warm_up()

    def close(self) -> None:
        """See `Records.close`."""
        self._clients.close()

    @contextmanager
    def _operation(self) -> Iterator[Budget]:
        with as_store_errors(f"table {self._table.name}"):
            self._clients.check_open()
            yield Budget(self._policy)

    def _record(self, item: Item) -> Record:
        try:
            place = Place(item["pk"]["S"].removeprefix(_PREFIX), item["sk"]["S"])
            record = Record(place, json.loads(item["value"]["S"]), int(item["version"]["N"]))
        except (KeyError, ValueError) as error:
            shown = f"{item['pk'].get('S')!r}, {item['sk'].get('S')!r}"
            raise StoreError(f"the item {shown} is damaged: {error!r}") from error
        if "writes" in item:
            writes = RecentWrites.of(item["writes"]["S"])
            self._remember(place, record.version, writes)
        return record

    def _remember(self, place: Place, version: int, writes: RecentWrites) -> None:
        """Remember the last writes of an item, which the next one to it is to keep."""
        with self._lock:
            self._writes.pop(place, None)
            self._writes[place] = (version, writes)
            if len(self._writes) > _MOST_REMEMBERED:
                self._writes.popitem(last=False)

    def _writes_of(self, record: Record) -> RecentWrites:
        """The last writes of an item; none where they are not known of this version."""
        version, writes = self._writes.get(record.place, (0, RecentWrites()))
        return writes if version == record.version else RecentWrites()


def _can_be(place: Place) -> bool:
    """Whether there can be a record: whoever asks may have it from a path."""
    n_partition, n_key = len((_PREFIX + place.partition).encode()), len(place.key.encode())
    return n_partition <= _LONGEST_PARTITION and 0 < n_key <= _LONGEST_KEY


def _key(place: Place) -> Item:
    return {"pk": {"S": _PREFIX + place.partition}, "sk": {"S": place.key}}


def _item(record: Record, writes: RecentWrites) -> Item:
    return {
        **_key(record.place),
        "version": {"N": str(record.version + 1)},
        "writes": {"S": writes.text},
        "value": {"S": json.dumps(record.value, separators=(",", ":"))},
    }
