"""What SQLite reads for a list grows with the page, not with what is stored."""

from __future__ import annotations

import itertools
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from shared.storage.codec import encode
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import CompletionQuery
from tests.storage.completions import START_MS, sample, sample_id
from tests.sweeps import examples

pytestmark = pytest.mark.slow  # each test needs the many

TENANT = "default"
ORDERS: tuple[Literal["asc", "desc"], ...] = ("asc", "desc")
FEW, MANY = 400, 20_000

_INDEXED = re.compile(
    r"SEARCH (completions USING COVERING INDEX completions_by_(id|model)"
    r"|completions USING INDEX completions_by_id"
    r"|pairs USING PRIMARY KEY) \(tenant=\? AND kind=\? AND .*id[=<>]\?"
)
_NO_TABLE = re.compile(r"SCAN CONSTANT ROW|SCALAR SUBQUERY \d+")


class Watched(sqlite3.Connection):
    """A connection that notes the queries it was given, and counts SQLite's steps."""

    queries: list[str]
    steps: int

    def watch(self) -> None:
        """Count from now on. A step is an instruction of SQLite's virtual machine."""
        self.queries, self.steps = [], 0
        self.set_trace_callback(self._trace)
        self.set_progress_handler(self._progress, 1)

    def _trace(self, statement: str) -> None:
        if statement.startswith("SELECT"):
            self.queries.append(statement)

    def _progress(self) -> int:
        self.steps += 1
        return 0


class WatchedStore(SQLiteStore):
    """A store with one watched connection."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(path)
        with monkeypatch.context() as patched:
            connect = sqlite3.connect
            patched.setattr(
                sqlite3, "connect", lambda *a, **k: self._keep(connect(*a, **k, factory=Watched))
            )
            self.initialize()

    def _keep(self, connection: Watched) -> Watched:
        self.connection = connection
        return connection

    def queries(self, query: CompletionQuery) -> list[str]:
        """The queries that listing takes."""
        self.connection.watch()
        self.list(query)
        return self.connection.queries

    def steps(self, **query: Any) -> int:
        """How many steps a list takes."""
        self.connection.watch()
        self.list(CompletionQuery(tenant=TENANT, kind="chat", **query))
        return self.connection.steps


def metadata(number: int, n: int) -> dict[str, str]:
    """Of completion ``number`` of ``n``: what all have, every second, every 50th, tenths of all."""
    return {
        "project": "lamp",
        "parity": "odd" if number % 2 else "even",
        "sampled": "yes" if number % 50 == 0 else "no",
        "tenth": str(number * 10 // n),
        "part": str(number * 10 // n),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Files with few and with many completions."""
    return {
        n: filled_file(tmp_path_factory.mktemp("plans") / f"{n}.sqlite3", n) for n in (FEW, MANY)
    }


def filled_file(path: Path, n: int) -> Path:
    """A file with ``n`` completions, written at once: so that it takes little time."""
    store = SQLiteStore(path)
    store.initialize()
    store.close()
    place = (TENANT, "chat")
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany(
            "INSERT INTO completions (tenant, kind, id, model, metadata, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                (*place, each.id, "builtin", orjson.dumps(metadata(i, n)).decode(), encode(each))
                for i, each in enumerate(sample(number, tenant=TENANT) for number in range(n))
            ),
        )
        connection.executemany(
            "INSERT INTO pairs (tenant, kind, key, value, id) VALUES (?, ?, ?, ?, ?)",
            ((*place, *pair, sample_id(i)) for i in range(n) for pair in metadata(i, n).items()),
        )
    connection.close()
    return path


@pytest.fixture
def few(
    files: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WatchedStore]:
    # A copy, as a test analyzes it.
    store = WatchedStore(Path(shutil.copy(files[FEW], tmp_path)), monkeypatch)
    yield store
    store.close()


@pytest.fixture
def many(files: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedStore]:
    store = WatchedStore(files[MANY], monkeypatch)
    yield store
    store.close()


def plan_of(store: WatchedStore, query: str) -> list[str]:
    """What SQLite does for a query, in its own words."""
    return [row[-1] for row in store.connection.execute(f"EXPLAIN QUERY PLAN {query}")]


def combinations() -> Iterator[CompletionQuery]:
    """Queries with each combination of filters, orders, cursors and times."""
    pairs = list(metadata(0, MANY).items())
    for model, n_pairs, order, after, since, until in itertools.product(
        (None, "builtin"),
        (0, 1, 2, 3),
        ORDERS,
        (None, sample_id(10)),
        (None, START_MS / 1000),
        (None, (START_MS + 20) / 1000),
    ):
        yield CompletionQuery(
            tenant=TENANT,
            kind="chat",
            limit=2,
            order=order,
            after=after,
            model=model,
            metadata=dict(pairs[:n_pairs]),
            since=since,
            until=until,
        )


@pytest.mark.sweep(1)
@pytest.mark.parametrize("is_analyzed", [False, True], ids=["", "analyzed"])
def test_all_lists_are_read_from_indexes_in_their_order(
    few: WatchedStore, is_analyzed: bool
) -> None:
    if is_analyzed:  # with statistics, SQLite may decide otherwise
        few.connection.execute("ANALYZE")

    for query in itertools.islice(combinations(), None, None, 100 // examples(100)):
        for statement in few.queries(query):
            for step in plan_of(few, statement):
                assert _INDEXED.match(step) or _NO_TABLE.fullmatch(step), (query, step)


def test_ids_are_found_in_indexes_alone(many: WatchedStore) -> None:
    pairs = {"project": "lamp", "parity": "even", "sampled": "yes"}

    queries = many.queries(
        CompletionQuery(tenant=TENANT, kind="chat", limit=10, model="builtin", metadata=pairs)
    )

    bodies = [
        query for query in queries if query.startswith("SELECT rowid, CAST(metadata AS BLOB), body")
    ]
    assert len(bodies) == 11  # the page, and one that tells that there are more
    for query in set(queries) - set(bodies):
        plan = [step for step in plan_of(many, query) if not _NO_TABLE.fullmatch(step)]
        assert len(plan) == 4
        assert all("COVERING INDEX" in step or "pairs USING PRIMARY KEY" in step for step in plan)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"model": "builtin"},
        {"metadata": {"project": "lamp"}},
        {"metadata": {"sampled": "yes"}},
        {"metadata": {"project": "lamp", "parity": "odd", "tenth": "7"}},
        {"metadata": {"project": "lamp", "sampled": "yes"}, "model": "builtin"},
    ],
    ids=str,
)
def test_a_page_of_many_takes_the_steps_of_a_page_of_few(
    few: WatchedStore, many: WatchedStore, order: str, filters: dict[str, Any]
) -> None:
    for limit in (1, 4):
        query = {"limit": limit, "order": order, **filters}

        assert many.steps(**query) == pytest.approx(few.steps(**query), rel=0.1)


def test_a_page_in_the_middle_takes_the_steps_of_the_first(many: WatchedStore) -> None:
    query = {"limit": 10, "metadata": {"project": "lamp", "parity": "even"}}

    middle = many.steps(**query, after=sample_id(MANY // 2))

    assert middle == pytest.approx(many.steps(**query), rel=0.1)


@pytest.mark.parametrize(
    "filters",
    [
        {"model": "unknown"},
        {"metadata": {"unknown": "pair"}},
        {"model": "builtin", "metadata": {"project": "lamp", "unknown": "pair"}},
        {"metadata": {"project": "lamp", "tenth": "3", "part": "7"}},
    ],
    ids=["model", "pair", "pair beside common ones", "pairs that are far apart"],
)
def test_what_matches_nothing_takes_fewer_steps_than_a_page(
    many: WatchedStore, filters: dict[str, Any]
) -> None:
    for order in ("asc", "desc"):
        assert many.steps(order=order, **filters) < many.steps(order=order, limit=5)


def test_common_filters_cost_no_more_than_the_rarest(many: WatchedStore) -> None:
    rare = {"sampled": "yes"}

    alone = many.steps(limit=20, metadata=rare)

    with_common = many.steps(limit=20, metadata=rare | {"project": "lamp"}, model="builtin")
    assert with_common < 4 * alone
