"""Store of completions in DynamoDB and S3."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from shared.storage.base import CompletionStore, DamagedCompletionError, StoreError
from shared.storage.codec import decode, encode
from shared.storage.dynamodb.bodies import Bodies
from shared.storage.dynamodb.clients import Clients
from shared.storage.dynamodb.items import (
    Entry,
    Item,
    body_of,
    deleted_entry_key,
    deletion_item,
    deletion_key,
    entry_key,
    is_live,
    item_id,
    item_key,
)
from shared.storage.dynamodb.keys import (
    BODIES,
    N_SHARDS,
    Partitions,
    deletions,
    is_id,
    may_be_sort_key,
)
from shared.storage.dynamodb.listing import FoundEntry, Listing
from shared.storage.dynamodb.retries import Budget, RetryPolicy, as_store_errors
from shared.storage.dynamodb.setup import ensure_bucket, ensure_table
from shared.storage.dynamodb.table import Table
from shared.storage.pages import Found, page_of
from shared.storage.types import CompletionQuery, Kind, Page, Place, StoredCompletion

if TYPE_CHECKING:
    import boto3
    from types_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_THREADS = 16
"""That read shards and bodies of a page at the same time, for all lists together."""

_ALL = ("\0", "\U0010ffff")
"""Bounds of all sort keys."""

_log = logging.getLogger("pilotlight.store")


class DynamoDBStore(CompletionStore):
    """Keeps completions in ``table`` and ``bucket``.

    Credentials, region and endpoint are boto3's (``AWS_ENDPOINT_URL``, for instance), or those of
    ``session`` and ``endpoint_url``. ``retries`` says how long an operation may take. ``now`` is
    the clock that completions expire by, in seconds since 1970. Nothing is connected to before the
    first call.
    """

    def __init__(
        self,
        table: str,
        bucket: str,
        *,
        retries: RetryPolicy | None = None,
        session: boto3.session.Session | None = None,
        endpoint_url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._policy = retries or RetryPolicy()
        self._now = now
        self._clients = Clients(self._policy, session, endpoint_url)
        self._table = Table(self._clients, table)
        self._bodies = Bodies(self._clients, bucket)
        self._threads = ThreadPoolExecutor(_THREADS, "completions")

    def put(self, completion: StoredCompletion) -> None:
        """See `CompletionStore.put`. An id is taken until it is deleted: the first one stays."""
        if not is_id(completion.id):
            raise StoreError(f"{completion.id!r} is no id of a completion")
        entry = Entry.of(completion)
        changes = [self._table.addition(entry.item())]
        changes += [self._table.put(item) for item in entry.index_items()]
        body = encode(completion)
        with self._operation() as budget:
            self._bodies.write(budget, entry.body, body)
            # The commit. If the entry is there it was put before: by a call whose answer got lost.
            self._table.write(budget, changes)

    def get(self, tenant: str, kind: Kind, completion_id: str) -> StoredCompletion | None:
        """See `CompletionStore.get`."""
        with self._operation() as budget:
            entry = self._entry(budget, tenant, kind, completion_id)
            return None if entry is None else self._completion(budget, entry)

    def list(self, query: CompletionQuery) -> Page:
        """See `CompletionStore.list`."""
        with self._operation() as budget:
            listing = Listing(self._table, self._threads, budget, query, self._now())
            entries = listing.entries()
            return page_of(self._found(budget, entries, query.limit), entries, query.limit)

    def update_metadata(
        self, tenant: str, kind: Kind, completion_id: str, metadata: Mapping[str, str]
    ) -> StoredCompletion | None:
        """See `CompletionStore.update_metadata`. Of several at once, each replaces the whole."""
        with self._operation() as budget:
            backoff = budget.backoff()
            while entry := self._entry(budget, tenant, kind, completion_id):
                changed = replace(entry, metadata=dict(metadata), version=entry.version + 1)
                completion = self._completion(budget, changed)  # none is changed that is damaged
                if completion and self._table.write(budget, self._changes(entry, changed)):
                    return completion
                backoff.pause(f"{completion_id} was changed by others each time")
        return None

    def delete(self, tenant: str, kind: Kind, completion_id: str) -> bool:
        """See `CompletionStore.delete`.

        The completion is gone before its body is. After a `StoreError`, or a crash, a body may be
        left that nobody can reach any more: deleting again removes it, and so does
        `sweep`.
        """
        with self._operation() as budget:
            backoff = budget.backoff()
            partitions = Partitions(tenant, kind)
            while item := self._item(budget, partitions, completion_id):
                try:
                    entry = Entry.from_item(partitions, item, self._table.name)
                except DamagedCompletionError as damage:
                    self._remove_damaged(budget, partitions, item, damage)
                    return True
                deletion = entry.deletion_item()
                changes = [self._table.removal(entry.key(), entry.version)]
                changes += [self._table.remove(item) for item in entry.index_items()]
                changes.append(self._table.put(deletion))
                if self._table.write(budget, changes):
                    self._finish(budget, deletion)
                    return True
                backoff.pause(f"{completion_id} was changed by others each time")
            return self._finish_earlier(budget, tenant, kind, completion_id)

    def sweep(self) -> int:
        """See `CompletionStore.sweep`. DynamoDB and S3 remove what has expired by themselves."""
        count = 0
        for shard in range(N_SHARDS):
            is_last, behind = False, None
            while not is_last:
                with self._operation() as budget:
                    page = self._table.query(
                        budget, deletions(shard), _ALL, limit=20, behind=behind
                    )
                    for deletion in page.items:
                        self._finish(budget, deletion)
                        behind = deletion["sk"]["S"]
                count += len(page.items)
                is_last = page.is_last
        return count

    def initialize(self) -> None:
        """Create table and bucket where they are missing, and set what is not set on them.

        The table is paid for by request, removes what has expired (``ttl``) and keeps backups for
        point-in-time recovery. The bucket is private and encrypted, and has lifecycle rules by
        which bodies expire; rules of others stay. Can be repeated. Raises `StoreError`, also when
        that is not permitted.
        """
        with self._operation():
            ensure_table(self._clients, self._policy, self._table.name)
            ensure_bucket(self._clients, self._policy, self._bodies.bucket)

    def warm_up(self) -> None:
        """See `CompletionStore.warm_up`."""
        with self._operation():
            self._clients.warm_up()

    def close(self) -> None:
        """See `CompletionStore.close`."""
        self._threads.shutdown()
        self._clients.close()

    @contextmanager
    def _operation(self) -> Iterator[Budget]:
        self._clients.check_open()
        with as_store_errors(f"dynamodb:{self._table.name},{self._bodies.bucket}"):
            yield Budget(self._policy)

    def _item(self, budget: Budget, partitions: Partitions, completion_id: str) -> Item | None:
        """The item of a completion's entry, unless it has expired."""
        if not may_be_sort_key(completion_id):
            return None
        item = self._table.get(budget, entry_key(partitions, completion_id))
        return item if item is not None and is_live(item, self._now()) else None

    def _entry(self, budget: Budget, tenant: str, kind: Kind, completion_id: str) -> Entry | None:
        """A completion's entry, unless it has expired; raises `DamagedCompletionError`."""
        partitions = Partitions(tenant, kind)
        item = self._item(budget, partitions, completion_id)
        return None if item is None else Entry.from_item(partitions, item, self._table.name)

    def _found(self, budget: Budget, entries: Iterator[FoundEntry], limit: int) -> Iterator[Found]:
        """The completions of the first ``limit`` entries that have one, and what is damaged."""

        def read(entry: FoundEntry) -> Found | None:
            try:
                return self._completion(budget, entry) if isinstance(entry, Entry) else entry
            except DamagedCompletionError as damage:
                return damage

        missing = limit
        while batch := list(islice(entries, missing)):
            for found in self._threads.map(read, batch):
                missing -= isinstance(found, StoredCompletion)
                if found is not None:
                    yield found

    def _completion(self, budget: Budget, entry: Entry) -> StoredCompletion | None:
        """The completion with its body, None if it was deleted since its entry was read.

        Raises `DamagedCompletionError`.
        """
        source = f"s3://{self._bodies.bucket}/{entry.body}"
        body = self._bodies.read(budget, entry.body)
        if body is not None:
            place = Place(entry.partitions.tenant, entry.partitions.kind, entry.id)
            return decode(body, entry.metadata, place, source)
        item = self._table.get(budget, entry.key())
        if item is not None and is_live(item, self._now()):
            # We never remove the body first.
            raise DamagedCompletionError(entry.id, source, "the body is missing")
        return None

    def _remove_damaged(
        self, budget: Budget, partitions: Partitions, item: Item, damage: DamagedCompletionError
    ) -> None:
        """Delete a completion whose entry can't be read, with what is known of it.

        Index items that are left lead nowhere: a list passes over them.
        """
        body = body_of(partitions, item)
        if body is None:
            _log.error("deleted, but its body may be left in %s: %s", self._bodies.bucket, damage)
            self._table.delete(budget, item_key(item))
            return
        deletion = deletion_item(partitions, item_id(item), body)
        self._table.write(budget, [self._table.remove(item), self._table.put(deletion)])
        self._finish(budget, deletion)

    def _changes(self, entry: Entry, changed: Entry) -> Sequence[TransactWriteItemTypeDef]:
        """What makes ``changed`` of ``entry``, where their metadata differ."""
        old, new = entry.metadata.items(), changed.metadata.items()
        gone = entry.pair_items(dict(old - new))
        added = changed.pair_items(dict(new - old))
        return [
            self._table.replacement(changed.item(), entry.version),
            *(self._table.remove(item) for item in gone),
            *(self._table.put(item) for item in added),
        ]

    def _finish_earlier(self, budget: Budget, tenant: str, kind: Kind, completion_id: str) -> bool:
        """Finish a deletion that had begun, if one had."""
        if not is_id(completion_id):
            return False
        key = deletion_key(Partitions(tenant, kind), completion_id)
        deletion = self._table.get(budget, key)
        if deletion is not None:
            self._finish(budget, deletion)
        return deletion is not None

    def _finish(self, budget: Budget, deletion: Item) -> None:
        """Remove a deleted completion's body, then the note about that."""
        body = deletion.get("body", {}).get("S", "")
        entry = deleted_entry_key(deletion)
        if not body.startswith(BODIES) or not entry["pk"]["S"]:
            _log.error("a deletion can't be finished, since it is damaged: %s", item_id(deletion))
        # Unless the id was put again since, which takes the same body.
        elif self._table.get(budget, entry) is None:
            self._bodies.delete(budget, body)
        self._table.delete(budget, item_key(deletion))
