"""Lists: order, cursors, limits and times."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery, id_time
from tests.storage.completions import START_MS, sample, sample_id
from tests.storage.listing import listed_ids, pages_of_ids

Order = Literal["asc", "desc"]

N = 7
IDS = [sample_id(number) for number in range(N)]

QUERIES: dict[str, dict[str, Any]] = {
    "all": {},
    "by model": {"model": "builtin"},
    "by a pair": {"metadata": {"even": "yes"}},
    "by a model and two pairs": {"model": "builtin", "metadata": {"even": "yes", "all": "yes"}},
}


@pytest.fixture
def filled(store: CompletionStore, tenant: str) -> CompletionStore:
    """A store with seven completions, put in no order."""
    for number in (3, 0, 6, 1, 5, 2, 4):
        metadata = {"all": "yes", "even": "no" if number % 2 else "yes"}
        store.put(sample(number, tenant=tenant, metadata=metadata))
    return store


def expected(query: dict[str, Any], order: Order) -> list[str]:
    """The ids that ``query`` finds."""
    ids = [IDS[n] for n in range(N) if n % 2 == 0 or "even" not in query.get("metadata", {})]
    return ids if order == "asc" else ids[::-1]


def test_nothing_is_an_empty_page(store: CompletionStore, tenant: str) -> None:
    page = store.list(CompletionQuery(tenant=tenant, kind="chat"))

    assert (list(page.completions), page.has_more) == ([], False)


def test_lists_are_ordered_by_time(filled: CompletionStore, tenant: str) -> None:
    assert listed_ids(filled, tenant) == IDS
    assert listed_ids(filled, tenant, order="asc") == IDS
    assert listed_ids(filled, tenant, order="desc") == IDS[::-1]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_every_size_add_up_to_the_list(
    filled: CompletionStore, tenant: str, query: dict[str, Any], order: Order
) -> None:
    ids = expected(query, order)
    for limit in range(1, N + 2):
        pages = pages_of_ids(
            filled,
            CompletionQuery(tenant=tenant, kind="chat", limit=limit, order=order, **query),
        )

        assert pages == [ids[at : at + limit] for at in range(0, len(ids), limit)]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_follows_its_cursor(
    filled: CompletionStore, tenant: str, query: dict[str, Any], order: Order
) -> None:
    ids = expected(query, order)

    following = [listed_ids(filled, tenant, order=order, after=after, **query) for after in ids]

    assert following == [ids[at + 1 :] for at in range(len(ids))]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_cursor_may_be_deleted(filled: CompletionStore, tenant: str, order: Order) -> None:
    filled.delete(tenant, "chat", IDS[3])

    after = listed_ids(filled, tenant, order=order, after=IDS[3])

    assert after == (IDS[4:] if order == "asc" else IDS[2::-1])


@pytest.mark.parametrize("cursor", ["a", "chatcmpl-", "zzz", "#", "\0", "日本", ""])
def test_a_cursor_that_is_no_id_is_a_place_in_the_order(
    filled: CompletionStore, tenant: str, cursor: str
) -> None:
    assert listed_ids(filled, tenant, after=cursor) == [i for i in IDS if i > cursor]
    before = [i for i in IDS[::-1] if i < cursor] if cursor else IDS[::-1]
    assert listed_ids(filled, tenant, order="desc", after=cursor) == before


def test_deleting_the_last_of_two_pages_leaves_one(filled: CompletionStore, tenant: str) -> None:
    query = CompletionQuery(tenant=tenant, kind="chat", limit=N - 1)
    assert filled.list(query).has_more

    filled.delete(tenant, "chat", IDS[-1])

    page = filled.list(query)
    assert ([completion.id for completion in page.completions], page.has_more) == (IDS[:-1], False)


def test_new_completions_come_after_the_cursor(filled: CompletionStore, tenant: str) -> None:
    filled.put(sample(N, tenant=tenant))

    assert listed_ids(filled, tenant, after=IDS[-1]) == [sample_id(N)]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("query", [{}, {"metadata": {"even": "yes"}}], ids=["all", "by a pair"])
def test_times_bound_lists(
    filled: CompletionStore, tenant: str, order: Order, query: dict[str, Any]
) -> None:
    for since in (0, 1, 4, N):
        for until in (0, 3, 5, N):
            ids = listed_ids(
                filled,
                tenant,
                order=order,
                since=(START_MS + since) / 1000,
                until=(START_MS + until) / 1000,
                **query,
            )

            assert ids == [i for i in expected(query, order) if i in IDS[since:until]]


def test_a_time_between_two_completions_parts_them(filled: CompletionStore, tenant: str) -> None:
    between = (START_MS + 2.5) / 1000

    assert listed_ids(filled, tenant, since=between) == IDS[3:]
    assert listed_ids(filled, tenant, until=between) == IDS[:3]


def test_the_time_of_an_id_bounds_lists(filled: CompletionStore, tenant: str) -> None:
    for number, completion_id in enumerate(IDS):
        assert listed_ids(filled, tenant, since=id_time(completion_id)) == IDS[number:]
        assert listed_ids(filled, tenant, until=id_time(completion_id)) == IDS[:number]


def test_times_far_off_bound_nothing(filled: CompletionStore, tenant: str) -> None:
    assert listed_ids(filled, tenant, since=-1e9, until=1e15) == IDS
    assert listed_ids(filled, tenant, since=1e15) == []
    assert listed_ids(filled, tenant, until=-1.0) == []


def test_a_cursor_and_times_hold_together(filled: CompletionStore, tenant: str) -> None:
    since, until = (START_MS + 1) / 1000, (START_MS + 5) / 1000

    def between(order: Order, after: str) -> list[str]:
        return listed_ids(filled, tenant, order=order, since=since, until=until, after=after)

    assert between("asc", IDS[0]) == IDS[1:5]
    assert between("asc", IDS[2]) == IDS[3:5]
    assert between("asc", IDS[6]) == []
    assert between("desc", IDS[6]) == IDS[4:0:-1]
    assert between("desc", IDS[3]) == IDS[2:0:-1]
    assert between("desc", IDS[0]) == []


def test_texts_are_listed_like_chats(store: CompletionStore, tenant: str) -> None:
    for number in range(3):
        store.put(sample(number, tenant=tenant, kind="text"))
    ids = [sample_id(number, "text") for number in range(3)]

    assert listed_ids(store, tenant, kind="text", after=ids[0]) == ids[1:]
    assert listed_ids(store, tenant, kind="text", since=(START_MS + 2) / 1000) == ids[2:]
    assert listed_ids(store, tenant, kind="text", until=(START_MS + 2) / 1000) == ids[:2]
