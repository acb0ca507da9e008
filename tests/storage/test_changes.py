"""Updating metadata, and deleting."""

from __future__ import annotations

from dataclasses import replace

from shared.storage.base import CompletionStore
from tests.storage.completions import sample, sample_id
from tests.storage.listing import listed, listed_ids


def test_an_update_replaces_all_metadata(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"kept": "same", "changed": "old", "gone": "x"})
    store.put(completion)
    metadata = {"kept": "same", "changed": "new", "added": "🗼"}

    updated = store.update_metadata(tenant, "chat", completion.id, metadata)

    assert updated == replace(completion, metadata=metadata)
    assert store.get(tenant, "chat", completion.id) == updated
    assert listed(store, tenant) == [updated]


def test_an_updated_completion_is_found_by_what_it_has(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"kept": "same", "changed": "old", "gone": "x"})
    store.put(completion)
    metadata = {"kept": "same", "changed": "new", "added": "y"}

    store.update_metadata(tenant, "chat", completion.id, metadata)

    for key, value in metadata.items():
        assert listed_ids(store, tenant, metadata={key: value}) == [completion.id]
    assert listed_ids(store, tenant, metadata=metadata, model="builtin") == [completion.id]
    assert listed_ids(store, tenant, metadata={"changed": "old"}) == []
    assert listed_ids(store, tenant, metadata={"gone": "x"}) == []


def test_metadata_may_be_emptied_and_filled_again(store: CompletionStore, tenant: str) -> None:
    metadata = {f"key-{i}": str(i) for i in range(16)}
    completion = sample(tenant=tenant, metadata=metadata)
    store.put(completion)

    emptied = store.update_metadata(tenant, "chat", completion.id, {})
    assert emptied == replace(completion, metadata={})
    assert listed_ids(store, tenant, metadata={"key-0": "0"}) == []

    others = {f"other-{i}": str(i) for i in range(16)}
    filled = store.update_metadata(tenant, "chat", completion.id, others)
    assert filled == replace(completion, metadata=others)
    assert listed_ids(store, tenant, metadata={"other-15": "15"}) == [completion.id]


def test_updating_to_the_same_metadata_changes_nothing(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"run": "7"})
    store.put(completion)

    for _ in range(2):
        assert store.update_metadata(tenant, "chat", completion.id, {"run": "7"}) == completion

    assert listed_ids(store, tenant, metadata={"run": "7"}) == [completion.id]


def test_a_deleted_completion_is_gone(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"run": "7"})
    store.put(completion)

    assert store.delete(tenant, "chat", completion.id) is True

    assert store.get(tenant, "chat", completion.id) is None
    assert listed_ids(store, tenant) == []
    assert listed_ids(store, tenant, model="builtin") == []
    assert listed_ids(store, tenant, metadata={"run": "7"}) == []
    assert store.update_metadata(tenant, "chat", completion.id, {"run": "8"}) is None
    assert store.delete(tenant, "chat", completion.id) is False


def test_deleting_after_an_update_leaves_nothing(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"run": "7"})
    store.put(completion)
    store.update_metadata(tenant, "chat", completion.id, {"run": "8"})

    store.delete(tenant, "chat", completion.id)

    assert listed_ids(store, tenant, metadata={"run": "7"}) == []
    assert listed_ids(store, tenant, metadata={"run": "8"}) == []


def test_changes_leave_others_alone(store: CompletionStore, tenant: str) -> None:
    completions = [sample(n, tenant=tenant, metadata={"run": "7"}) for n in range(4)]
    for completion in completions:
        store.put(completion)

    store.update_metadata(tenant, "chat", sample_id(1), {"run": "8"})
    store.delete(tenant, "chat", sample_id(2))

    assert listed(store, tenant, metadata={"run": "7"}) == [completions[0], completions[3]]
    assert listed_ids(store, tenant) == [sample_id(0), sample_id(1), sample_id(3)]
