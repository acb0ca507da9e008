"""An expired completion is gone, cleared away or not."""

from __future__ import annotations

import time
from typing import Literal

import pytest

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery
from tests.storage.completions import LONG_AGO, sample, sample_id
from tests.storage.listing import listed_ids, pages_of_ids

METADATA = {"run": "7"}


def test_an_expired_completion_is_gone(store: CompletionStore, tenant: str) -> None:
    expired = sample(tenant=tenant, metadata=METADATA, expires_at=LONG_AGO)

    store.put(expired)

    assert store.get(tenant, "chat", expired.id) is None
    assert listed_ids(store, tenant) == []
    assert listed_ids(store, tenant, model="builtin") == []
    assert listed_ids(store, tenant, metadata=METADATA) == []
    assert store.update_metadata(tenant, "chat", expired.id, {"run": "8"}) is None
    assert store.delete(tenant, "chat", expired.id) is False


def test_a_completion_stays_until_it_expires(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata=METADATA, expires_at=int(time.time()) + 86_400)

    store.put(completion)

    assert store.get(tenant, "chat", completion.id) == completion
    assert listed_ids(store, tenant, metadata=METADATA) == [completion.id]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_are_full_though_some_have_expired(
    store: CompletionStore, tenant: str, order: Literal["asc", "desc"]
) -> None:
    # Runs of expired ones at the beginning, in the middle and at the end.
    expired = {0, 1, 2, 5, 6, 7, 8, 9, 11, 12}
    for number in range(13):
        expires_at = LONG_AGO if number in expired else None
        store.put(sample(number, tenant=tenant, metadata=METADATA, expires_at=expires_at))
    ids = [sample_id(number) for number in (3, 4, 10)]
    if order == "desc":
        ids.reverse()

    for metadata in ({}, METADATA):
        query = CompletionQuery(tenant=tenant, kind="chat", limit=2, order=order, metadata=metadata)
        assert pages_of_ids(store, query) == [ids[:2], ids[2:]]
        assert listed_ids(store, tenant, order=order, after=ids[0], metadata=metadata) == ids[1:]


def test_a_page_has_no_more_when_the_rest_has_expired(store: CompletionStore, tenant: str) -> None:
    for number in range(4):
        store.put(sample(number, tenant=tenant, expires_at=LONG_AGO if number > 1 else None))

    page = store.list(CompletionQuery(tenant=tenant, kind="chat", limit=2))

    assert [completion.id for completion in page.completions] == [sample_id(0), sample_id(1)]
    assert not page.has_more
