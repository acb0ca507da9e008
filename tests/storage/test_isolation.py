"""A tenant meets its own completions only, and chats and texts are kept apart."""

from __future__ import annotations

import pytest

from shared.storage.base import CompletionStore
from shared.storage.types import Kind
from tests.storage.completions import sample
from tests.storage.listing import listed, listed_ids

METADATA = {"run": "7"}


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_other_tenants_see_nothing(
    store: CompletionStore, tenant: str, other_tenant: str, kind: Kind
) -> None:
    completion = sample(tenant=tenant, kind=kind, metadata=METADATA)
    store.put(completion)

    assert store.get(other_tenant, kind, completion.id) is None
    assert listed_ids(store, other_tenant, kind=kind) == []
    assert listed_ids(store, other_tenant, kind=kind, model="builtin") == []
    assert listed_ids(store, other_tenant, kind=kind, metadata=METADATA) == []


def test_other_tenants_change_nothing(
    store: CompletionStore, tenant: str, other_tenant: str
) -> None:
    completion = sample(tenant=tenant, metadata=METADATA)
    store.put(completion)

    assert store.update_metadata(other_tenant, "chat", completion.id, {"run": "8"}) is None
    assert store.delete(other_tenant, "chat", completion.id) is False

    assert listed(store, tenant, metadata=METADATA) == [completion]


def test_two_tenants_may_have_one_id(
    store: CompletionStore, tenant: str, other_tenant: str
) -> None:
    mine = sample(tenant=tenant, metadata=METADATA, user="me")
    theirs = sample(tenant=other_tenant, metadata=METADATA, user="they", model="other")
    store.put(mine)
    store.put(theirs)

    assert store.get(tenant, "chat", mine.id) == mine
    assert store.get(other_tenant, "chat", mine.id) == theirs

    assert store.delete(tenant, "chat", mine.id)

    assert listed(store, other_tenant, metadata=METADATA) == [theirs]


@pytest.mark.parametrize(
    "suffix",
    ["#chat", "#", "#chat#0", "#chat#m", "#chat#p", "/", "/../x", "%23", "=", " ", "é", "\0", "🗝"],
)
def test_tenants_whose_names_look_alike_are_told_apart(
    store: CompletionStore, tenant: str, suffix: str
) -> None:
    alike = tenant + suffix
    mine, theirs = sample(0, tenant=tenant), sample(1, tenant=alike, metadata=METADATA)
    store.put(mine)
    store.put(theirs)

    assert listed(store, tenant) == [mine]
    assert listed(store, alike) == [theirs]
    assert listed(store, alike, metadata=METADATA) == [theirs]
    assert store.get(tenant, "chat", theirs.id) is None
    assert store.get(alike, "chat", theirs.id) == theirs


def test_chats_and_texts_are_kept_apart(store: CompletionStore, tenant: str) -> None:
    chat = sample(tenant=tenant, metadata=METADATA)
    text = sample(tenant=tenant, metadata=METADATA, kind="text")
    store.put(chat)
    store.put(text)

    for mine, other in ((chat, text), (text, chat)):
        assert listed(store, tenant, kind=mine.kind) == [mine]
        assert listed(store, tenant, kind=mine.kind, model="builtin") == [mine]
        assert listed(store, tenant, kind=mine.kind, metadata=METADATA) == [mine]
        assert store.get(tenant, mine.kind, other.id) is None
        assert store.update_metadata(tenant, mine.kind, other.id, {}) is None
        assert store.delete(tenant, mine.kind, other.id) is False
