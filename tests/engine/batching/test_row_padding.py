"""Rows beside those needed: where they make a step faster, and that nobody notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.engine.batching.row_costs import RowCosts
from shared.engine.batching.row_padding import RowPadding
from shared.engine.engine import Engine
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.context import Batch, Context
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import as_tokens
from tests.engine.cells import Cells
from tests.engine.conftest import LONG, EngineFactory, chat, one, request, run

_TILES = {1: 35, 2: 87, 3: 95, 4: 108, 5: 173, 6: 176, 7: 188, 8: 152, 9: 205, 10: 225, 11: 236}
_TILES |= {12: 218, 13: 260, 14: 260, 15: 270, 16: 251}
"""Milliseconds of a 0.5 B model on an EPYC with AVX-512, one thread."""


def tiles(n_rows: int) -> float:
    return _TILES[n_rows]


def even(n_rows: int) -> float:
    """A machine on which an odd number takes longer than the next even one."""
    return 10 * n_rows + 20 * (n_rows % 2)


def plain(n_rows: int) -> float:
    return 50 + n_rows


def settle(
    padding: RowPadding, costs: RowCosts, n_needed: int, cost: Callable[[int], float]
) -> int:
    """The number of rows that most steps have in the end."""
    numbers = []
    for _ in range(300):
        n_rows = padding.n_rows(n_needed, 16)
        costs.observe(n_rows, cost(n_rows))
        numbers.append(n_rows)
    return max(set(numbers[200:]), key=numbers[200:].count)


def cache(*, is_unified: bool, n_places: int = 16) -> KVCache:
    return KVCache(Cells(1600, n_places, is_unified=is_unified), n_places)


def enter(kv: KVCache, n_tokens: int) -> KVEntry:
    """A sequence with so many tokens, all but the last evaluated."""
    entry = kv.acquire(as_tokens(range(n_tokens)), shares=False)
    kv._memory.evaluate([(entry.seq_id, tuple(range(n_tokens - 1)))])  # type: ignore[attr-defined]
    kv.advance(entry, n_tokens - 1)
    return entry


@pytest.mark.parametrize(
    ("cost", "n_needed", "n_rows"),
    [
        (tiles, 1, 1),
        (tiles, 2, 2),
        (tiles, 3, 3),
        (tiles, 4, 4),
        (tiles, 5, 8),
        (tiles, 7, 8),
        (tiles, 9, 9),
        (tiles, 11, 12),
        (tiles, 15, 16),
        (even, 1, 1),
        (even, 3, 4),
        (even, 4, 4),
        (even, 13, 14),
        (plain, 3, 3),
        (plain, 15, 15),
    ],
)
def test_rows_are_what_is_fastest_here(
    cost: Callable[[int], float], n_needed: int, n_rows: int
) -> None:
    costs = RowCosts()
    assert settle(RowPadding(cache(is_unified=True), costs, 512), costs, n_needed, cost) == n_rows


def test_what_is_fastest_is_known_soon() -> None:
    costs = RowCosts()
    padding = RowPadding(cache(is_unified=True), costs, 512)
    numbers = []
    for _ in range(20):
        numbers.append(padding.n_rows(7, 16))
        costs.observe(numbers[-1], tiles(numbers[-1]))
    assert set(numbers[8:]) == {8}


def test_trying_is_seldom_where_it_never_pays() -> None:
    costs = RowCosts()
    padding = RowPadding(cache(is_unified=True), costs, 512)
    numbers = []
    for _ in range(1000):
        numbers.append(padding.n_rows(3, 16))
        costs.observe(numbers[-1], plain(numbers[-1]))
    assert sum(n != 3 for n in numbers[:100]) <= 8
    assert 1 <= sum(n != 3 for n in numbers[200:]) <= 7


def test_many_rows_for_few_streams_are_not_tried() -> None:
    costs = RowCosts()
    padding = RowPadding(cache(is_unified=True), costs, 512)
    numbers = set()
    for _ in range(300):
        n_rows = padding.n_rows(3, 16)
        numbers.add(n_rows)
        costs.observe(n_rows, tiles(n_rows))
    assert numbers == {3, 4}


def test_costs_that_change_change_the_rows() -> None:
    costs = RowCosts()
    padding = RowPadding(cache(is_unified=True), costs, 512)
    assert settle(padding, costs, 3, even) == 4
    assert settle(padding, costs, 3, plain) == 3


def test_rows_of_a_pool_follow_the_last_sequence() -> None:
    kv, costs = cache(is_unified=True), RowCosts()
    entries = [enter(kv, 20), enter(kv, 30), enter(kv, 40)]
    padding = RowPadding(kv, costs, 512)
    settle(padding, costs, 3, even)
    assert padding.rows_beside(entries) == [(entries[-1].seq_id, 40)]


def test_a_full_pool_has_no_cells_for_padding() -> None:
    kv, costs = cache(is_unified=True), RowCosts()
    entries = [enter(kv, 100), enter(kv, 100), enter(kv, 1399)]
    padding = RowPadding(kv, costs, 512)
    settle(padding, costs, 3, even)
    assert padding.rows_beside(entries) == [(entries[-1].seq_id, 1399)]
    kv.append(entries[-1], 1)
    kv.advance(entries[-1], 2)
    assert padding.rows_beside(entries) == []


def test_rows_with_shares_have_ids_of_their_own() -> None:
    kv, costs = cache(is_unified=False), RowCosts()
    entries = [enter(kv, 20) for _ in range(6)]
    for cached in entries[5:]:
        kv.finish(cached)
    padding = RowPadding(kv, costs, 512)
    settle(padding, costs, 5, tiles)
    assert padding.rows_beside(entries[:5]) == [(5, 19), (6, 0), (7, 0)]


def test_a_sequence_that_fills_its_share_leaves_no_room_for_a_row() -> None:
    kv, costs = cache(is_unified=False), RowCosts()
    entries = [enter(kv, 20), enter(kv, 20), enter(kv, 20), enter(kv, 100)]
    kv.advance(entries[3], 1)
    padding = RowPadding(kv, costs, 512)
    settle(padding, costs, 3, even)
    assert padding.rows_beside(entries[:3]) == []


def test_all_places_taken_leave_no_room_for_a_row() -> None:
    kv, costs = cache(is_unified=False, n_places=3), RowCosts()
    padding = RowPadding(kv, costs, 512)
    settle(padding, costs, 3, even)
    assert padding.rows_beside([enter(kv, 20) for _ in range(3)]) == []


@pytest.mark.parametrize(
    ("seq_ids", "expected"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        ([2, 4, 5], [2, 3, 4, 5]),
        ([0, 2, 4, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([12, 14, 15], [12, 13, 14, 15]),
        ([0, 15], [0, 15]),
        ([0, 8], [0, 8]),
    ],
)
def test_gaps_are_filled_where_one_decode_is_faster_than_several(
    seq_ids: list[int], expected: list[int]
) -> None:
    costs = RowCosts()
    for n_rows, milliseconds in _TILES.items():
        for _ in range(9):
            costs.observe(n_rows, milliseconds)
    padding = RowPadding(cache(is_unified=False), costs, 512)
    assert list(padding.span(seq_ids, 16)) == expected


def test_no_rows_where_cells_can_not_be_removed() -> None:
    kv = KVCache(Cells(1600, 16, is_unified=False), 16, shares_prefixes=False)
    costs = RowCosts()
    padding = RowPadding(kv, costs, 512)
    settle(padding, costs, 3, even)
    assert padding.rows_beside([enter(kv, 20) for _ in range(3)]) == []


class _Fixed(RowCosts):
    """Costs that no step changes."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[int] = []

    def observe(self, n_rows: int, seconds: float) -> None:
        self.decoded.append(n_rows)

    def n_observed(self, n_rows: int) -> int:
        return 9

    def seconds(self, n_rows: int) -> float:
        return 16 - n_rows if n_rows < 8 else n_rows


def pad(engine: Engine) -> _Fixed:
    """Let an engine's steps have eight rows."""
    costs = _Fixed()
    evaluator = engine._loop._evaluator
    evaluator.costs = evaluator._padding._costs = costs
    return costs


QUESTIONS = ["Count from 1 to 100", "What is the capital of France?", "Who are you?"]


@pytest.mark.slow
def test_padding_changes_no_text_and_no_count(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine(n_parallel=8)
    requests = [request(chat(model, question), 60) for question in QUESTIONS]
    alone = [one(engine, each) for each in requests]
    costs = pad(engine)
    before = engine.stats().evaluated_tokens
    for _ in range(2):  # the second time beside prefixes that are kept
        together = run(engine, *requests)
        assert [r.text for r in together] == [r.text for r in alone]
        assert [r.tokens for r in together] == [r.tokens for r in alone]
    assert 8 in costs.decoded
    n_sampled = 2 * sum(r.cost.completion_tokens for r in alone)
    n_evaluated = 2 * sum(r.cost.prompt_tokens for r in alone) + n_sampled
    assert engine.stats().evaluated_tokens - before <= n_evaluated


@pytest.mark.slow
def test_streams_that_end_at_different_times_leave_gaps_that_are_filled(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=8)
    prompt = chat(model, "Count from 1 to 100")
    longest = one(engine, request(prompt, 60, sampling=LONG)).text
    costs = pad(engine)
    lengths = [60, 9, 35, 14, 50, 20, 45]
    results = run(engine, *(request(prompt, length, sampling=LONG) for length in lengths))
    assert all(longest.startswith(r.text) for r in results)
    assert costs.decoded.count(8) > 40


def test_a_decode_that_fails_leaves_no_padding_behind(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(n_parallel=8)
    pad(engine)
    decode = Context.decode

    def fail_afterwards(context: Context, batch: Batch) -> None:
        decode(context, batch)
        if batch.size == 8:
            raise LlamaError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(Context, "decode", fail_afterwards)
        requests = [request(chat(model, question), 30, sampling=LONG) for question in QUESTIONS]
        failed = run(engine, *requests)
    assert "error" in {r.finish_reason for r in failed}
    assert one(engine, request(chat(model, QUESTIONS[1]), 60)).text.endswith("Paris.")
