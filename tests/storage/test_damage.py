"""A damaged completion costs nobody another one: it is passed over, counted, named, and deleted."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.storage.base import CompletionStore, DamagedCompletionError
from shared.storage.codec import encode
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import CompletionQuery, StoredCompletion
from tests.storage.completions import sample, sample_id
from tests.storage.dynamodb.aws import Aws
from tests.storage.listing import listed, listed_ids, pages_of_ids
from tests.storage.sqlite_files import run

PAIRS = {"run": "7"}
N = 7


class Damaging:
    """A store, and what is done to completions in it that stores don't do."""

    store: CompletionStore

    def body(self, completion: StoredCompletion, body: bytes | None) -> None:
        """Replace a body, None to remove it."""
        raise NotImplementedError

    def metadata(self, completion: StoredCompletion, text: str) -> None:
        """Replace the metadata's JSON."""
        raise NotImplementedError


class DamagingSQLite(Damaging):
    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.store = SQLiteStore(path, **options)

    def body(self, completion: StoredCompletion, body: bytes | None) -> None:
        self.set("body", f"x'{(body or b'').hex()}'", completion)

    def metadata(self, completion: StoredCompletion, text: str) -> None:
        self.set("metadata", f"'{text}'", completion)

    def set(self, column: str, value: str, completion: StoredCompletion) -> None:
        """Replace a column's value, written in SQL."""
        run(self.path, f"UPDATE completions SET {column} = {value} WHERE id = '{completion.id}'")


class DamagingDynamoDB(Damaging):
    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.store = aws.store()

    def body(self, completion: StoredCompletion, body: bytes | None) -> None:
        self.aws.replace_body(completion, body)

    def metadata(self, completion: StoredCompletion, text: str) -> None:
        self.aws.change_entry(completion, {"metadata": {"S": text}})


def _sqlite(request: pytest.FixtureRequest) -> DamagingSQLite:
    return DamagingSQLite(request.getfixturevalue("tmp_path") / "completions.sqlite3")


def _dynamodb(request: pytest.FixtureRequest) -> DamagingDynamoDB:
    return DamagingDynamoDB(request.getfixturevalue("shared_aws"))


@pytest.fixture(
    params=[
        pytest.param(_sqlite, id="sqlite"),
        pytest.param(_dynamodb, id="dynamodb", marks=pytest.mark.integration),
    ]
)
def damaging(request: pytest.FixtureRequest) -> Iterator[Damaging]:
    """Each store in turn."""
    made: Damaging = request.param(request)
    with closing(made.store):
        yield made


def filled(store: CompletionStore, tenant: str) -> list[StoredCompletion]:
    """What the tenant has."""
    completions = [sample(number, tenant=tenant, metadata=PAIRS) for number in range(N)]
    for completion in completions:
        store.put(completion)
    return completions


def body_with(completion: StoredCompletion, **changes: Any) -> bytes:
    """A completion's body with other fields."""
    return gzip.compress(orjson.dumps(orjson.loads(gzip.decompress(encode(completion))) | changes))


Damage = Callable[[Damaging, StoredCompletion], None]

DAMAGES: dict[str, Damage] = {
    "no body": lambda store, completion: store.body(completion, None),
    "an empty body": lambda store, completion: store.body(completion, b""),
    "a truncated body": lambda store, completion: store.body(completion, encode(completion)[:-20]),
    "no gzip": lambda store, completion: store.body(completion, b"{}"),
    "no JSON": lambda store, completion: store.body(completion, gzip.compress(b"{")),
    "no object": lambda store, completion: store.body(completion, gzip.compress(b"[]")),
    "another version": lambda store, completion: store.body(
        completion, body_with(completion, version=2)
    ),
    "a field of another type": lambda store, completion: store.body(
        completion, body_with(completion, response="Paris")
    ),
    "another tenant's body": lambda store, completion: store.body(
        completion, encode(replace(completion, tenant="another"))
    ),
    "another completion's body": lambda store, completion: store.body(
        completion, encode(replace(completion, id=sample_id(0)))
    ),
    "metadata that is no JSON": lambda store, completion: store.metadata(completion, "{"),
    "metadata that is no object": lambda store, completion: store.metadata(completion, "[]"),
    "metadata that is no text": lambda store, completion: store.metadata(completion, '{"a": 1}'),
}

SQLITE_DAMAGES: dict[str, tuple[str, str]] = {
    "metadata in bytes": ("metadata", "x'ff00'"),
    "metadata that is no UTF-8": ("metadata", "CAST(x'7b22ff227d' AS TEXT)"),
    "metadata that is a number": ("metadata", "5"),
    "a body that is a text": ("body", "'text'"),
    "a body that is a number": ("body", "7.5"),
    "a body that is no UTF-8": ("body", "CAST(x'ff' AS TEXT)"),
}

DYNAMODB_DAMAGES: dict[str, dict[str, Any]] = {
    "no model": {"model": None},
    "no metadata": {"metadata": None},
    "no body": {"body": None},
    "no version": {"version": None},
    "a model that is a number": {"model": {"N": "5"}},
    "metadata that is a map": {"metadata": {"M": {"run": {"S": "7"}}}},
    "a body that is a number": {"body": {"N": "5"}},
    "a body that is another's": {"body": {"S": "completions/retention=none/another.json.gz"}},
    "a version that is a text": {"version": {"S": "one"}},
    "an expiry that is a text": {"ttl": {"S": "soon"}},
    "an expiry that is a fraction": {"ttl": {"N": "99999999999.5"}},
}


Lists = Sequence[dict[str, Any]]
"""What lists are asked for: fields of `CompletionQuery`."""
FILTERS: Lists = ({}, {"metadata": PAIRS}, {"model": "builtin"})
ALL_LISTS: Lists = [{**filters, "order": order} for filters in FILTERS for order in ("asc", "desc")]
FEW_LISTS: Lists = [
    {**filters, "order": order}
    for filters, order in zip(FILTERS, ("asc", "desc", "asc"), strict=True)
]
"""For a table on moto, where one takes 25 ms of processor time, once all were asked for."""


def check_damaged(
    store: CompletionStore, completions: list[StoredCompletion], lists: Lists = ALL_LISTS
) -> None:
    """See that the fourth of ``completions`` is damaged, and costs none of the others."""
    damaged = completions[3]
    tenant = damaged.tenant
    others = [completion for completion in completions if completion is not damaged]
    ids = [completion.id for completion in others]
    for fields in lists:
        expected = ids if fields["order"] == "asc" else ids[::-1]
        query = CompletionQuery(tenant=tenant, kind="chat", limit=2, **fields)
        assert pages_of_ids(store, query) == [expected[:2], expected[2:4], expected[4:]]
        pages = [store.list(replace(query, limit=limit)) for limit in (3, 4, 100)]
        assert [list(page.damaged) for page in pages] == [[], [damaged.id], [damaged.id]]
        assert [page.has_more for page in pages] == [True, True, False]
    with pytest.raises(DamagedCompletionError, match=damaged.id) as raised:
        store.get(tenant, "chat", damaged.id)
    assert raised.value.completion_id == damaged.id
    with pytest.raises(DamagedCompletionError, match=damaged.id):
        store.update_metadata(tenant, "chat", damaged.id, {"run": "8"})
    store.sweep()

    assert store.delete(tenant, "chat", damaged.id)

    assert store.get(tenant, "chat", damaged.id) is None
    assert not store.delete(tenant, "chat", damaged.id)
    for filters in FILTERS:
        page = store.list(CompletionQuery(tenant=tenant, kind="chat", limit=100, **filters))
        assert list(page.completions) == others
        assert not page.damaged


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_completion_is_passed_over(damaging: Damaging, tenant: str, name: str) -> None:
    completions = filled(damaging.store, tenant)

    DAMAGES[name](damaging, completions[3])

    few = isinstance(damaging, DamagingDynamoDB) and name != "no body"
    check_damaged(damaging.store, completions, FEW_LISTS if few else ALL_LISTS)


@pytest.mark.parametrize("name", SQLITE_DAMAGES)
def test_a_damaged_row_is_passed_over(tmp_path: Path, tenant: str, name: str) -> None:
    damaging = DamagingSQLite(tmp_path / "completions.sqlite3")
    with closing(damaging.store) as store:
        completions = filled(store, tenant)

        damaging.set(*SQLITE_DAMAGES[name], completions[3])

        check_damaged(store, completions)
        assert run(damaging.path, "SELECT count(*) FROM pairs") == [(N - 1,)]


@pytest.mark.parametrize("name", DYNAMODB_DAMAGES)
def test_a_damaged_item_is_passed_over(shared_aws: Aws, tenant: str, name: str) -> None:
    with closing(shared_aws.store()) as store:
        completions = filled(store, tenant)

        shared_aws.change_entry(completions[3], DYNAMODB_DAMAGES[name])

        check_damaged(store, completions, ALL_LISTS if name == "no body" else FEW_LISTS)


def test_several_are_counted_once_by_all_pages(
    damaging: Damaging, tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    completions = filled(damaging.store, tenant)
    for number in (0, 2, 3, 6):
        damaging.metadata(completions[number], "{")

    query = CompletionQuery(tenant=tenant, kind="chat", limit=1)
    with caplog.at_level(logging.ERROR):
        first = damaging.store.list(query)
        second = damaging.store.list(replace(query, after=first.completions[-1].id))
        third = damaging.store.list(replace(query, after=second.completions[-1].id))

    pages = (first, second, third)
    assert [page.completions[0].id for page in pages] == [sample_id(n) for n in (1, 4, 5)]
    assert [page.has_more for page in pages] == [True, True, False]
    assert [list(page.damaged) for page in pages] == [
        [sample_id(0)],
        [sample_id(2), sample_id(3)],
        [sample_id(6)],
    ]
    assert [record.getMessage().split()[3] for record in caplog.records] == [
        sample_id(number) for number in (0, 2, 3, 6)
    ]


def test_a_list_of_damaged_ones_ends(damaging: Damaging, tenant: str) -> None:
    for completion in filled(damaging.store, tenant):
        damaging.body(completion, b"")

    page = damaging.store.list(CompletionQuery(tenant=tenant, kind="chat", limit=2))

    assert not page.completions
    assert not page.has_more
    assert page.damaged == [sample_id(number) for number in range(N)]


def test_an_expired_row_with_damaged_metadata_is_cleared_away(tmp_path: Path, tenant: str) -> None:
    clock = [1000.0]
    damaging = DamagingSQLite(tmp_path / "completions.sqlite3", now=lambda: clock[0])
    with closing(damaging.store) as store:
        for number in range(3):
            store.put(sample(number, tenant=tenant, metadata=PAIRS, expires_at=2000))
        damaging.metadata(sample(1, tenant=tenant), "{")
        damaging.set("tenant", "CAST(x'ff' AS TEXT)", sample(2, tenant=tenant))
        clock[0] = 3000.0

        store.put(sample(4, tenant=tenant))

        assert listed_ids(store, tenant) == [sample_id(4)]
        assert store.sweep() == 0
    assert run(damaging.path, "SELECT count(*) FROM completions") == [(1,)]


def test_an_id_that_is_no_text_is_passed_over(tmp_path: Path, tenant: str) -> None:
    damaging = DamagingSQLite(tmp_path / "completions.sqlite3")
    with closing(damaging.store) as store:
        completions = filled(store, tenant)
        damaging.set("id", "CAST(x'63e8617463' AS TEXT)", completions[3])

        for order in ("asc", "desc"):
            query = CompletionQuery(tenant=tenant, kind="chat", limit=4, order=order)
            assert sum(map(len, pages_of_ids(store, query))) == N - 1
        page = store.list(CompletionQuery(tenant=tenant, kind="chat", limit=100))
        assert page.damaged == ["'c\\udce8atc'"]
        assert store.delete(tenant, "chat", "c\udce8atc")
        assert not store.list(CompletionQuery(tenant=tenant, kind="chat")).damaged


def test_pairs_that_nothing_has_find_nothing(tmp_path: Path, tenant: str) -> None:
    damaging = DamagingSQLite(tmp_path / "completions.sqlite3")
    with closing(damaging.store) as store:
        completions = filled(store, tenant)
        run(
            damaging.path,
            "UPDATE pairs SET value = '8' WHERE id IN"
            f" ('{completions[1].id}', '{completions[2].id}')",
        )

        assert listed(store, tenant, metadata={"run": "8"}) == []
        assert len(listed(store, tenant, metadata=PAIRS)) == N - 2
        changed = store.update_metadata(tenant, "chat", completions[1].id, {"run": "8"})
        assert listed(store, tenant, metadata={"run": "8"}) == [changed]


def test_an_item_whose_id_is_none_is_passed_over(shared_aws: Aws, tenant: str) -> None:
    odd = "chatcmpl-a b#c"
    with closing(shared_aws.store()) as store:
        completions = filled(store, tenant)
        shared_aws.preload([replace(completions[3], id=odd)])

        page = store.list(CompletionQuery(tenant=tenant, kind="chat", limit=100))

        assert list(page.completions) == completions
        assert page.damaged == [odd]
        with pytest.raises(DamagedCompletionError, match="that is no id"):
            store.get(tenant, "chat", odd)
        assert store.delete(tenant, "chat", odd)
        assert listed(store, tenant) == completions


def test_damaged_deletions_do_not_keep_others_from_being_finished(moto_url: str) -> None:
    aws = Aws.fresh(moto_url)
    completion = sample(tenant="lamp")
    with closing(aws.store()) as store:
        store.initialize()
        store.put(completion)
        aws.put_item({"pk": {"S": "deletions#1"}, "sk": {"S": "lamp#chat#1#chatcmpl-1"}})
        aws.put_item({"pk": {"S": "deletions#1"}, "sk": {"S": "x"}, "body": {"S": "completions/x"}})
        aws.put_item({"pk": {"S": "deletions#2"}, "sk": {"S": "lamp#chat#2#a"}, "body": {"S": ""}})

        store.sweep()

        assert store.sweep() == 0
        assert listed(store, "lamp") == [completion]
