"""Records of accounts: the contract of every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from shared.accounts.records import Place, Record, Records
from tests.accounts.conftest import OpenRecords

_A, _B, _C = (Place("letters", key) for key in ("a", "b", "c"))


def _put(records: Records, *places: Place) -> None:
    assert records.write([Record(place, {"name": place.key}) for place in places])


def test_what_was_written_is_read_by_others(open_records: OpenRecords, records: Records) -> None:
    value = {"text": 'é"😀\n', "list": [1, None, 1.5], "map": {"": True}}
    assert records.write([Record(_A, value)])
    with closing(open_records()) as others:
        assert others.get(_A) == Record(_A, value, 1)
        assert others.get(_B) is None


def test_several_are_read_at_once(records: Records) -> None:
    _put(records, _A, _B)
    found = records.get_all([_C, _B, _A])
    assert found == {place: Record(place, {"name": place.key}, 1) for place in (_A, _B)}


def test_a_write_counts_only_on_the_version_that_was_read(records: Records) -> None:
    _put(records, _A)
    assert records.write([Record(_A, {"n": 1}, 1)])
    assert not records.write([Record(_A, {"n": 2}, 1)])
    assert not records.write([Record(_A, {"n": 2})])
    assert not records.write([Record(_B, {"n": 2}, 1)])
    assert not records.write([], [Record(_A, {}, 1)])
    assert records.get(_A) == Record(_A, {"n": 1}, 2)
    assert records.get(_B) is None


@pytest.mark.parametrize("stale", [Record(_A, {}, 7), Record(_C, {}, 1)])
def test_all_or_none_is_written(records: Records, stale: Record) -> None:
    _put(records, _A, _B)
    there = records.get(_B)
    assert there is not None
    new = Record(Place("letters", "d"), {})
    assert not records.write([new, stale], [there])
    assert records.get(_B) == there
    assert records.get(new.place) is None
    assert records.write([new], [there])
    assert records.get(_B) is None
    assert records.get(new.place) is not None


def test_a_removed_record_can_be_written_anew(records: Records) -> None:
    _put(records, _A)
    assert records.write([], [Record(_A, {}, 1)])
    _put(records, _A)
    assert records.get(_A) == Record(_A, {"name": "a"}, 1)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("prefix", "after", "expected"),
    [
        ("", None, ["a", "ab", "b", "ba", "é"]),
        ("a", None, ["a", "ab"]),
        ("b", None, ["b", "ba"]),
        ("", "ab", {False: ["b", "ba", "é"], True: ["a"]}),
        ("", "aa", {False: ["ab", "b", "ba", "é"], True: ["a"]}),
        ("b", "a", {False: ["b", "ba"], True: []}),
        ("a", "b", {False: [], True: ["a", "ab"]}),
        ("x", None, []),
    ],
)
def test_a_list_is_in_order(
    records: Records,
    prefix: str,
    after: str | None,
    expected: list[str] | dict[bool, list[str]],
    descending: bool,
) -> None:
    _put(records, *(Place("letters", key) for key in ("b", "a", "é", "ab", "ba")))
    _put(records, Place("other", "aa"), Place("letters#", "aa"))
    listed = records.list("letters", prefix, limit=10, after=after, descending=descending)
    wanted = expected[descending] if isinstance(expected, dict) else expected
    assert [each.place.key for each in listed] == (wanted[::-1] if descending else wanted)


def test_a_list_goes_on_where_a_page_ended(records: Records) -> None:
    _put(records, *(Place("numbers", f"{n:03}") for n in range(90)))
    keys: list[str] = []
    while page := records.list("numbers", "", limit=7, after=keys[-1] if keys else None):
        assert len(page) <= 7
        keys += [each.place.key for each in page]
    assert keys == [f"{n:03}" for n in range(90)]


def test_a_page_is_longer_than_dynamodb_reads_at_once(records: Records) -> None:
    text = "x" * 300_000
    for n in range(5):
        assert records.write([Record(Place("large", str(n)), {"text": text})])
    assert [each.place.key for each in records.list("large", "", limit=5)] == list("01234")


def test_of_writers_at_once_each_builds_on_the_other(open_records: OpenRecords) -> None:
    def count(_: int) -> None:
        with closing(open_records()) as records:
            while True:
                found = records.get(_A) or Record(_A, {"n": 0})
                if records.write([Record(_A, {"n": found.value["n"] + 1}, found.version)]):
                    return

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(12)))
    with closing(open_records()) as records:
        assert records.get(_A) == Record(_A, {"n": 12}, 12)


def test_what_can_not_be_is_not_there(records: Records) -> None:
    for odd in ("", "x" * 3000, "é" * 1000):
        assert records.get(Place(odd, odd)) is None
        assert records.get_all([Place("letters", odd), Place(odd, "a")]) == {}
    _put(records, Place("letters", "a"))
    assert records.list("x" * 3000, "", limit=5) == []
    for descending in (False, True):
        before = records.list("letters", "", limit=5, after="0" * 3000, descending=descending)
        behind = records.list("letters", "", limit=5, after="z" * 3000, descending=descending)
        assert (len(before), len(behind)) == ((0, 1) if descending else (1, 0))
