"""What can be done with a store, to do it while things go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery, StoredCompletion
from tests.storage.completions import sample

_NEW, _CHANGED, _DELETED = 9, 1, 2


def before(tenant: str) -> list[StoredCompletion]:
    """What the tenant has before an operation."""
    return [sample(number, tenant=tenant, metadata={"task": "a", "n": "1"}) for number in range(4)]


@dataclass(frozen=True, slots=True)
class Operation:
    """Something to do, which can be repeated, and what the tenant has afterwards."""

    run: Callable[[CompletionStore, str], object]
    after: Callable[[str], Sequence[StoredCompletion]]


def _new(tenant: str) -> StoredCompletion:
    return sample(_NEW, tenant=tenant, metadata={"task": "b"})


def _put(store: CompletionStore, tenant: str) -> None:
    store.put(_new(tenant))


def _get(store: CompletionStore, tenant: str) -> None:
    wanted = before(tenant)[0]
    assert store.get(tenant, "chat", wanted.id) == wanted


def _list(store: CompletionStore, tenant: str) -> None:
    query = CompletionQuery(tenant=tenant, kind="chat", metadata={"task": "a"}, limit=3)
    page = store.list(query)
    assert list(page.completions) == before(tenant)[:3]
    assert page.has_more


def _update(store: CompletionStore, tenant: str) -> None:
    changed = store.update_metadata(tenant, "chat", _updated(tenant).id, {"task": "b", "n": "1"})
    assert changed == _updated(tenant)


def _updated(tenant: str) -> StoredCompletion:
    return replace(before(tenant)[_CHANGED], metadata={"task": "b", "n": "1"})


def _after_update(tenant: str) -> list[StoredCompletion]:
    return [
        _updated(tenant) if number == _CHANGED else completion
        for number, completion in enumerate(before(tenant))
    ]


def _delete(store: CompletionStore, tenant: str) -> None:
    store.delete(tenant, "chat", before(tenant)[_DELETED].id)


def _after_delete(tenant: str) -> list[StoredCompletion]:
    return [item for number, item in enumerate(before(tenant)) if number != _DELETED]


OPERATIONS = {
    "put": Operation(_put, lambda tenant: [*before(tenant), _new(tenant)]),
    "get": Operation(_get, before),
    "list": Operation(_list, before),
    "update": Operation(_update, _after_update),
    "delete": Operation(_delete, _after_delete),
}
