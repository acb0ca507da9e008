"""What is put comes back as it was."""

from __future__ import annotations

import random
from typing import Any

import pytest

from shared.storage.base import CompletionStore
from shared.storage.types import Kind
from tests.storage.completions import sample
from tests.storage.listing import listed, listed_ids

ODD_TEXT = (
    'Zoë 東京 🗼 \u202e\u05d0\u05d1\u202c 👩\u200d👧 "quoted" \\ a\n\r\t\0\x1f\u2028 </b> #=&%/'
)

CONTENTS: dict[str, Any] = {
    "odd text": ODD_TEXT,
    "empty values": ["", {}, [], None, False, 0, 0.0],
    "keys": {"": 1, ODD_TEXT: 2, "version": 3, "metadata": {"pk": "sk"}},
    "nesting": {"a": [{"b": [[{"c": None}], {"d": {"e": [1, [2, [3]]]}}]}]},
    "floats": [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, -9999.0, 1e-7, 1 / 3],
    "integers": [2**64 - 1, -(2**63), 2**53 + 1, 0, -1],
}


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_a_completion_comes_back(store: CompletionStore, tenant: str, kind: Kind) -> None:
    completion = sample(
        tenant=tenant,
        kind=kind,
        metadata={"run": "7"},
        user="user-1",
        key_id="key-1",
        is_incomplete=True,
        served_by="api.example.com",
        expires_at=2**33,
        dialect_fields={"tool_choice": "auto"},
    )

    store.put(completion)

    assert store.get(tenant, kind, completion.id) == completion
    assert listed(store, tenant, kind=kind) == [completion]


def test_what_may_be_missing_may_be_missing(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, request={}, response={}, timings={})

    store.put(completion)

    assert store.get(tenant, "chat", completion.id) == completion


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_all_that_json_has_comes_back(store: CompletionStore, tenant: str, content: Any) -> None:
    completion = sample(tenant=tenant, request={"sent": content}, response={"answer": content})

    store.put(completion)

    found = store.get(tenant, "chat", completion.id)
    assert found == completion
    assert repr(found) == repr(completion)  # 1 and 1.0 and True are equal, 0.0 and -0.0 too


def test_a_body_of_a_megabyte_comes_back(store: CompletionStore, tenant: str) -> None:
    # Random, as compression would make it small.
    text = random.Random(0).randbytes(500_000).hex()
    completion = sample(tenant=tenant, request={"messages": [{"role": "user", "content": text}]})

    store.put(completion)

    assert store.get(tenant, "chat", completion.id) == completion
    assert listed(store, tenant) == [completion]


def test_sixteen_pairs_of_the_greatest_lengths_come_back(
    store: CompletionStore, tenant: str
) -> None:
    # Keys of 64 and values of 512 characters, each of which takes four bytes.
    metadata = {f"{i:02}" + "🗝" * 62: f"{i:02}" + "💎" * 510 for i in range(16)}
    completion = sample(tenant=tenant, metadata=metadata)

    store.put(completion)

    assert store.get(tenant, "chat", completion.id) == completion
    assert listed(store, tenant, metadata=metadata) == [completion]


def test_putting_twice_keeps_one(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"run": "7"})

    store.put(completion)
    store.put(completion)

    assert listed(store, tenant) == [completion]
    assert listed(store, tenant, metadata={"run": "7"}) == [completion]
    assert store.delete(tenant, "chat", completion.id)
    assert listed(store, tenant) == []


def test_a_put_repeated_late_does_not_undo_an_update(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"run": "7"})
    store.put(completion)
    updated = store.update_metadata(tenant, "chat", completion.id, {"run": "8"})

    store.put(completion)

    assert store.get(tenant, "chat", completion.id) == updated
    assert listed_ids(store, tenant, metadata={"run": "7"}) == []
    assert listed_ids(store, tenant, metadata={"run": "8"}) == [completion.id]


def test_an_unknown_id_is_none(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant)

    assert store.get(tenant, "chat", completion.id) is None
    assert store.update_metadata(tenant, "chat", completion.id, {}) is None
    assert store.delete(tenant, "chat", completion.id) is False


@pytest.mark.parametrize("odd_id", ["chatcmpl-", "nonsense", "chatcmpl-zz", "a#b/../c", "ü🗝"])
def test_ids_that_were_never_made_here_are_unknown(
    store: CompletionStore, tenant: str, odd_id: str
) -> None:
    store.put(sample(tenant=tenant))

    assert store.get(tenant, "chat", odd_id) is None
    assert store.update_metadata(tenant, "chat", odd_id, {"a": "b"}) is None
    assert store.delete(tenant, "chat", odd_id) is False


def test_initializing_again_changes_nothing(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant)
    store.put(completion)

    store.initialize()

    assert listed(store, tenant) == [completion]
