"""Exports: every completion once, a page in memory at a time, the same file after any crash."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.storage.export.examples import Selection
from shared.storage.export.file import ExportError, ExportFile, state_path
from shared.storage.export.lines import PAGE_SIZE, ExportCounts, batches
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import CompletionQuery, Page
from tests.storage.completions import sample_id
from tests.storage.conversations import chat, user

N = 3 * PAGE_SIZE + 7
EVERYTHING = CompletionQuery(tenant="default", kind="chat")
REQUEST = {"options": {"--format": "raw"}, "since": None, "until": 7.5}


class Counting(SQLiteStore):
    """Notes what pages are asked for."""

    asked: list[CompletionQuery]

    def list(self, query: CompletionQuery) -> Page:
        """See `CompletionStore.list`."""
        self.asked.append(query)
        return super().list(query)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """A store with ``N`` completions; each tenth was not finished."""
    store = Counting(tmp_path_factory.mktemp("export") / "completions.sqlite3")
    for number in range(N):
        completion = chat([user(f"Praise {number}")], f"{number} is fine.", number=number)
        store.put(
            replace(
                completion,
                metadata={"parity": "odd" if number % 2 else "even"},
                is_incomplete=number % 10 == 3,
            )
        )
    yield store
    store.close()


@pytest.fixture(autouse=True)
def _asked(store: Counting) -> None:
    store.asked = []


def exported(store: Counting, *arguments: Any, **fields: Any) -> tuple[list[Any], ExportCounts]:
    """The parsed lines of an export, and what was counted."""
    query = replace(EVERYTHING, **fields)
    counts = ExportCounts()
    lines: list[Any] = []
    for batch in batches(store, query, *arguments):
        lines += [json.loads(line) for line in batch.lines.splitlines()]
        counts.add(batch.counts)
    return lines, counts


def questions(lines: list[Any]) -> list[int]:
    """The numbers that were asked about."""
    return [int(line["messages"][0]["content"].split()[1]) for line in lines]


def test_every_completion_is_exported_once_and_in_order(store: Counting) -> None:
    lines, counts = exported(store, "messages", Selection())

    assert questions(lines) == [number for number in range(N) if number % 10 != 3]
    assert counts.completions == N
    assert counts.lines == len(lines)
    assert counts.left_out == {"incomplete": N - len(lines)}


def test_no_more_than_a_page_is_read_at_once(store: Counting) -> None:
    pages = batches(store, EVERYTHING, "raw", Selection())

    first = next(pages)

    assert first.counts.completions == PAGE_SIZE
    assert len(store.asked) == 1
    assert sum(1 for _ in pages) == 3
    assert {query.limit for query in store.asked} == {PAGE_SIZE}


def test_order_filters_and_limit_are_the_stores(store: Counting) -> None:
    lines, counts = exported(
        store, "messages", Selection(), 130, order="desc", metadata={"parity": "even"}
    )

    assert questions(lines) == list(range(N - 1, N - 261, -2))
    assert counts.completions == 130
    assert [query.limit for query in store.asked] == [100, 30]


def test_an_export_goes_on_behind_any_completion(store: Counting) -> None:
    first, *rest = batches(store, EVERYTHING, "raw", Selection())

    again, _ = exported(store, "raw", Selection(), after=first.last_id)

    assert again == [json.loads(line) for batch in rest for line in batch.lines.splitlines()]


def test_raw_lines_have_all_that_is_stored(store: Counting) -> None:
    lines, counts = exported(store, "raw", Selection(), 4)

    assert [line["is_incomplete"] for line in lines] == [False, False, False, True]
    assert not counts.left_out
    assert lines[1] == {
        "id": sample_id(1),
        "kind": "chat",
        "tenant": "default",
        "created": lines[1]["response"]["created"],
        "model": "lamp",
        "request": {"model": "lamp", "store": True, "messages": [user("Praise 1")]},
        "response": lines[1]["response"],
        "used": {},
        "request_id": None,
        "metadata": {"parity": "odd"},
        "timings": {"total_seconds": 0.5},
        "user": None,
        "key_id": None,
        "is_incomplete": False,
        "served_by": None,
        "expires_at": None,
        "dialect_fields": None,
    }


def write(store: Counting, path: Path, n_batches: int, *, resume: bool) -> ExportFile:
    """Export up to ``n_batches`` pages to a file, and leave it as a crash would."""
    file = ExportFile(path, REQUEST, resume=resume)
    query = replace(EVERYTHING, after=file.last_id)
    for _, batch in zip(range(n_batches), batches(store, query, "raw", Selection()), strict=False):
        file.write(batch)
    file.close()
    return file


def whole(store: Counting) -> bytes:
    """The file that an export is to give."""
    return b"".join(batch.lines for batch in batches(store, EVERYTHING, "raw", Selection()))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("n_batches", range(5))
@pytest.mark.parametrize("half_line", [b"", b"{", b'{"id": "chatcmpl-1"}\n{"id": "chat'])
def test_an_interrupted_export_gives_the_same_file(
    store: Counting, tmp_path: Path, n_batches: int, half_line: bytes
) -> None:
    path = tmp_path / "raw.jsonl"
    write(store, path, n_batches, resume=False)
    with path.open("ab") as file:
        file.write(half_line)

    resumed = write(store, path, 100, resume=True)
    resumed.finish()

    assert path.read_bytes() == whole(store)
    assert resumed.counts.completions == resumed.counts.lines == N
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_goes_on_with_what_it_was_asked_for(store: Counting, tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    write(store, path, 1, resume=False)

    resumed = ExportFile(path, {"options": {}, "since": 1.0}, resume=True)

    assert resumed.request == REQUEST
    assert resumed.counts.completions == PAGE_SIZE
    resumed.close()


def test_a_new_export_begins_at_the_beginning(store: Counting, tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    write(store, path, 3, resume=False)

    write(store, path, 100, resume=False).finish()

    assert path.read_bytes() == whole(store)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    ExportFile(tmp_path / "raw.jsonl", REQUEST, resume=False).close()

    assert stat.S_IMODE((tmp_path / "raw.jsonl").stat().st_mode) == 0o600


def test_two_exports_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    first = ExportFile(path, REQUEST, resume=False)

    with pytest.raises(ExportError, match="another export"):
        ExportFile(path, REQUEST, resume=True)

    first.close()


def test_a_file_that_lost_lines_is_refused(store: Counting, tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    write(store, path, 1, resume=False)
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(ExportError, match="shorter"):
        ExportFile(path, REQUEST, resume=True)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1}'])
def test_a_state_that_makes_no_sense_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "raw.jsonl"
    path.touch()
    state_path(path).write_bytes(content)

    with pytest.raises(ExportError, match=r"raw\.jsonl\.state can't be read"):
        ExportFile(path, REQUEST, resume=True)


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"raw\.jsonl: No such file"):
        ExportFile(tmp_path / "missing" / "raw.jsonl", REQUEST, resume=False)
