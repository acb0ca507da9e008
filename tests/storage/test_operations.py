"""Any sequence of operations does to a store what it does to a dict."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery, Page, StoredCompletion
from tests.storage.completions import LONG_AGO, START_MS, sample, sample_id
from tests.storage.reference import ReferenceStore
from tests.sweeps import examples

N = 12
"""Completions that operations are about: few, so that they meet."""

_examples = itertools.count()

numbers = st.integers(0, N - 1)
models = st.sampled_from(["lamp", "torch"])
metadata = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"))
times = st.none() | st.integers(-1, N).map(lambda number: (START_MS + number) / 1000)


@dataclass(frozen=True)
class Operation:
    """A method of the store and its arguments; the tenant is the example's."""

    method: str
    arguments: tuple[Any, ...]

    def apply(self, store: CompletionStore, tenant: str) -> object:
        """What the method returns, in a form that can be compared."""
        match self.method, self.arguments:
            case "put", (completion,):
                store.put(replace(completion, tenant=tenant))
                return None
            case "list", (query,):
                return _comparable(store.list(replace(query, tenant=tenant)))
            case "update_metadata", (number, pairs):
                return store.update_metadata(tenant, "chat", sample_id(number), pairs)
            case "get", (number,):
                return store.get(tenant, "chat", sample_id(number))
            case "delete", (number,):
                return store.delete(tenant, "chat", sample_id(number))
        raise AssertionError(self)


def _comparable(page: Page) -> tuple[list[StoredCompletion], bool]:
    return list(page.completions), page.has_more


puts = st.builds(
    lambda number, model, pairs, expires_at: sample(
        number, tenant="", model=model, metadata=pairs, expires_at=expires_at
    ),
    numbers,
    models,
    metadata,
    st.sampled_from([None, None, None, LONG_AGO]),
)
queries = st.builds(
    CompletionQuery,
    tenant=st.just(""),
    kind=st.just("chat"),
    limit=st.integers(1, 5),
    order=st.sampled_from(["asc", "desc"]),
    after=st.none() | numbers.map(sample_id),
    model=st.none() | models,
    metadata=metadata,
    since=times,
    until=times,
)
operations = st.one_of(
    st.builds(Operation, st.just("put"), st.tuples(puts)),
    st.builds(Operation, st.just("list"), st.tuples(queries)),
    st.builds(Operation, st.just("update_metadata"), st.tuples(numbers, metadata)),
    st.builds(Operation, st.just("get"), st.tuples(numbers)),
    st.builds(Operation, st.just("delete"), st.tuples(numbers)),
)


@settings(
    max_examples=examples(30),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example has its tenant
)
@given(
    filling=st.lists(puts, min_size=6, max_size=15, unique_by=lambda completion: completion.id),
    sequence=st.lists(operations, min_size=5, max_size=15),
)
def test_a_store_does_what_a_dict_does(
    store: CompletionStore, filling: list[StoredCompletion], sequence: list[Operation]
) -> None:
    tenant = f"example-{next(_examples)}"
    reference = ReferenceStore()

    for operation in _promised([*(Operation("put", (each,)) for each in filling), *sequence]):
        expected = operation.apply(reference, tenant)

        assert operation.apply(store, tenant) == expected, operation


def _promised(operations: list[Operation]) -> Iterator[Operation]:
    """Those of which a store's promise says something.

    An id is random: it is put again to repeat its put, with the same completion, and not after it
    was deleted.
    """
    put: dict[str, Operation] = {}
    deleted = set()
    for operation in operations:
        if operation.method == "delete":
            deleted.add(sample_id(*operation.arguments))
        if operation.method != "put":
            yield operation
        elif operation.arguments[0].id not in deleted:
            yield put.setdefault(operation.arguments[0].id, operation)
