"""Lists of the completions of a model, with certain metadata, or both."""

from __future__ import annotations

import itertools

import pytest

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery
from tests.storage.completions import sample, sample_id
from tests.storage.listing import listed_ids, pages_of_ids

ODD_PAIRS = {
    "hashes": ("a#b", "c#d"),
    "equals signs": ("a=b", "c=d"),
    "quotes": ('it\'s "it"', "\";--'"),
    "brackets": ("[a][0]", "{'b': [\"c\"]}"),
    "emoji": ("🗝👩\u200d👧", "💎"),
    "controls": ("a\0b", "c\x1f\n\x7f"),
    "wildcards": ("%_*?", "%"),
    "a number": ("1", "1"),
    "a number with a zero": ("1", "1.0"),
    "empty value": ("empty", ""),
    "spaces": (" ", " \t "),
    "greatest lengths": ("k" * 64, "v" * 512),
    "greatest lengths in bytes": ("🗝" * 64, "💎" * 512),
    "another case": ("Empty", "ÄÖÜ"),
    "composed": ("\u00e9", "\u00e9"),
    "decomposed": ("e\u0301", "e\u0301"),
}


def test_pairs_of_odd_characters_find_their_own(store: CompletionStore, tenant: str) -> None:
    pairs = list(ODD_PAIRS.values())
    for number, (key, value) in enumerate(pairs):
        store.put(sample(number, tenant=tenant, metadata={key: value}))

    for number, (key, value) in enumerate(pairs):
        assert listed_ids(store, tenant, metadata={key: value}) == [sample_id(number)]


def test_key_and_value_are_told_apart(store: CompletionStore, tenant: str) -> None:
    pairs = [("a#b", "c"), ("a", "b#c"), ("a=b", "c"), ("a", "b=c"), ("ab", "c"), ("a", "bc")]
    for number, (key, value) in enumerate(pairs):
        store.put(sample(number, tenant=tenant, metadata={key: value}))

    found = [listed_ids(store, tenant, metadata={key: value}) for key, value in pairs]

    assert found == [[sample_id(number)] for number in range(len(pairs))]


def test_a_pair_matches_whole(store: CompletionStore, tenant: str) -> None:
    store.put(sample(tenant=tenant, metadata={"project": "lamp"}))

    for key, value in [
        ("project", "lam"),
        ("project", "lamps"),
        ("project", "Lamp"),
        ("project", ""),
        ("projec", "lamp"),
        ("projects", "lamp"),
        ("lamp", "project"),
        ("", ""),
    ]:
        assert listed_ids(store, tenant, metadata={key: value}) == []


def test_all_pairs_must_match(store: CompletionStore, tenant: str) -> None:
    # Number 5 has the bits 1 and 4: its metadata are {"1": "yes", "2": "no", "4": "yes"}.
    bits = (1, 2, 4)
    for number in range(8):
        metadata = {str(bit): "yes" if number & bit else "no" for bit in bits}
        store.put(sample(number, tenant=tenant, metadata=metadata))

    for values in itertools.product(["yes", "no", None], repeat=3):
        pairs = {str(bit): value for bit, value in zip(bits, values, strict=True) if value}
        matching = [
            sample_id(number)
            for number in range(8)
            if all((value == "yes") == bool(number & int(bit)) for bit, value in pairs.items())
        ]

        assert listed_ids(store, tenant, metadata=pairs) == matching
        assert listed_ids(store, tenant, metadata=pairs, order="desc") == matching[::-1]


def test_a_filter_may_have_sixteen_pairs(store: CompletionStore, tenant: str) -> None:
    metadata = {f"key-{i}": f"value-{i}" for i in range(16)}
    store.put(sample(0, tenant=tenant, metadata=metadata))
    store.put(sample(1, tenant=tenant, metadata=metadata | {"key-15": "other"}))

    assert listed_ids(store, tenant, metadata=metadata) == [sample_id(0)]
    assert listed_ids(store, tenant, metadata=metadata, model="builtin") == [sample_id(0)]


def test_pairs_that_never_meet_match_nothing(store: CompletionStore, tenant: str) -> None:
    for number in range(6):
        pair = {"odd": "yes"} if number % 2 else {"even": "yes"}
        store.put(sample(number, tenant=tenant, metadata=pair))

    for order in ("asc", "desc"):
        page = store.list(
            CompletionQuery(
                tenant=tenant,
                kind="chat",
                limit=1,
                order=order,
                metadata={"odd": "yes", "even": "yes"},
            )
        )
        assert (list(page.completions), page.has_more) == ([], False)


@pytest.mark.parametrize("name", ["lamp", "org/Lamp-7B:q4_k.m", "m" * 256])
def test_a_model_finds_its_own(store: CompletionStore, tenant: str, name: str) -> None:
    store.put(sample(0, tenant=tenant, model=name))
    store.put(sample(1, tenant=tenant, model=f"{name[:-1]}x"))
    store.put(sample(2, tenant=tenant, model=name))

    assert listed_ids(store, tenant, model=name) == [sample_id(0), sample_id(2)]
    assert listed_ids(store, tenant, model=name, order="desc") == [sample_id(2), sample_id(0)]


def test_a_model_and_a_pair_are_told_apart(store: CompletionStore, tenant: str) -> None:
    store.put(sample(0, tenant=tenant, model="lamp"))
    store.put(sample(1, tenant=tenant, model="torch", metadata={"model": "lamp"}))

    assert listed_ids(store, tenant, model="lamp") == [sample_id(0)]
    assert listed_ids(store, tenant, metadata={"model": "lamp"}) == [sample_id(1)]
    assert listed_ids(store, tenant, model="lamp", metadata={"model": "lamp"}) == []


def test_model_and_pairs_must_match(store: CompletionStore, tenant: str) -> None:
    for number in range(8):
        store.put(
            sample(
                number,
                tenant=tenant,
                model="lamp" if number & 1 else "torch",
                metadata={"run": "7"} if number & 2 else {},
            )
        )

    found = pages_of_ids(
        store,
        CompletionQuery(tenant=tenant, kind="chat", limit=1, model="lamp", metadata={"run": "7"}),
    )

    assert found == [[sample_id(3)], [sample_id(7)]]


def test_an_unknown_model_or_pair_matches_nothing(store: CompletionStore, tenant: str) -> None:
    store.put(sample(tenant=tenant, metadata={"run": "7"}))

    assert listed_ids(store, tenant, model="unknown") == []
    assert listed_ids(store, tenant, model="unknown", metadata={"run": "7"}) == []
    assert listed_ids(store, tenant, metadata={"run": "7", "unknown": "8"}) == []
