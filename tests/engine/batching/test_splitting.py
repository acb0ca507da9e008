"""Batch splitting: several calls in a step where they are faster, and that nobody notices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from shared.engine.batching.row_costs import RowCosts
from shared.engine.batching.splitting import BatchSplitter
from shared.engine.engine import Engine
from shared.engine.llama.context import Batch, Context, KVCacheFullError
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from tests.engine.conftest import LONG, EngineFactory, Result, chat, one, request, run

_TILES = {1: 35, 2: 87, 3: 95, 4: 108, 5: 173, 6: 176, 7: 188, 8: 152, 9: 205, 10: 225, 11: 236}
_TILES |= {12: 218, 13: 260, 14: 260, 15: 270, 16: 251}
"""Milliseconds of a 0.5 B model on an EPYC with AVX-512, one thread."""


def tiles(n_rows: int) -> float:
    return _TILES[n_rows] / 1e3


def plain(n_rows: int) -> float:
    """Rows cost little beside reading all weights."""
    return (50 + n_rows) / 1e3


def settle(n_sequences: int, cost: Callable[[int], float], costs: RowCosts) -> tuple[int, ...]:
    """What most steps do in the end, where each call takes what ``cost`` says."""
    for _ in range(3):  # a stream that was alone
        costs.observe(1, cost(1))
    splitter = BatchSplitter(costs, is_unified=True)
    seen: list[tuple[int, ...]] = []
    for _ in range(300):
        seen.append(splitter.sizes(n_sequences))
        assert sum(seen[-1]) == n_sequences
        for n_rows in seen[-1]:
            costs.observe(n_rows, cost(n_rows))
    return max(set(seen[200:]), key=seen[200:].count)


@pytest.mark.parametrize(
    ("cost", "n_sequences", "sizes"),
    [
        (tiles, 1, (1,)),
        (tiles, 2, (1, 1)),
        (tiles, 3, (3,)),
        (tiles, 4, (4,)),
        (tiles, 5, (4, 1)),
        (tiles, 8, (8,)),
        (tiles, 9, (8, 1)),
        (tiles, 16, (16,)),
        (plain, 2, (2,)),
        (plain, 5, (5,)),
        (plain, 11, (11,)),
    ],
)
def test_calls_are_what_is_fastest_here(
    cost: Callable[[int], float], n_sequences: int, sizes: tuple[int, ...]
) -> None:
    assert settle(n_sequences, cost, RowCosts()) == sizes


def test_what_a_first_call_leaves_is_cut_up_too() -> None:
    def cost(n_rows: int) -> float:
        """A machine on which two and three rows are computed worse than each by itself."""
        return {1: 0.03, 2: 0.09, 3: 0.14, 4: 0.10, 6: 0.24, 7: 0.28}.get(n_rows, 0.04 * n_rows)

    costs = RowCosts()
    assert settle(2, cost, costs) == (1, 1)
    assert settle(6, cost, costs) == (4, 1, 1)


def test_padding_counts_as_what_a_call_takes() -> None:
    costs = RowCosts()
    for n_rows, seconds in {5: 0.17, 8: 0.10, 4: 0.09, 1: 0.03}.items():
        for _ in range(3):
            costs.observe(n_rows, seconds)
    splitter = BatchSplitter(costs, is_unified=True)
    assert {splitter.sizes(5) for _ in range(100)} == {(5,)}


def n_tries(n_sequences: int, cost: Callable[[int], float]) -> int:
    """Steps of several calls among 1,000, where a single row's cost is known."""
    costs = RowCosts()
    for _ in range(3):
        costs.observe(1, cost(1))
    splitter = BatchSplitter(costs, is_unified=True)
    n_several = 0
    for _ in range(1000):
        sizes = splitter.sizes(n_sequences)
        n_several += len(sizes) > 1
        for n_rows in sizes:
            costs.observe(n_rows, cost(n_rows))
    return n_several


def test_trying_ends_where_it_does_not_pay() -> None:
    def linear(n_rows: int) -> float:
        return 0.01 * n_rows

    assert 3 <= n_tries(6, linear) <= 9


def test_what_can_not_pay_is_not_tried() -> None:
    assert not n_tries(6, plain)


def test_costs_that_change_change_the_calls() -> None:
    costs = RowCosts()
    assert settle(5, tiles, costs) == (4, 1)
    assert settle(5, plain, costs) == (5,)


def test_large_batches_are_never_cut_up() -> None:
    splitter = BatchSplitter(RowCosts(), is_unified=True)
    assert {splitter.sizes(100) for _ in range(100)} == {(100,)}


class _OneByOne(RowCosts):
    """Costs by which no two sequences should be decoded together."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[int] = []

    def observe(self, n_rows: int, seconds: float) -> None:
        self.decoded.append(n_rows)

    def n_observed(self, n_rows: int) -> int:
        return 9

    def seconds(self, n_rows: int) -> float:
        return float(n_rows**2)


def cut_up(engine: Engine) -> _OneByOne:
    """Let each call of an engine have one sequence."""
    costs = _OneByOne()
    evaluator = engine._loop._evaluator
    evaluator.costs = evaluator._padding._costs = costs
    engine._loop._planner._splitter._costs = costs
    return costs


QUESTIONS = ["Count from 1 to 100", "What is the capital of France?", "Who are you?"]


def texts(results: Sequence[Result]) -> list[str]:
    return [result.text for result in results]


@pytest.mark.slow
def test_several_calls_change_no_text_and_no_count(
    model: Model, make_engine: EngineFactory
) -> None:
    engine = make_engine(n_parallel=8)
    requests = [request(chat(model, question), 60) for question in QUESTIONS]
    alone = [one(engine, each) for each in requests]
    before = engine.stats().evaluated_tokens
    together = run(engine, *requests)
    evaluated = engine.stats().evaluated_tokens - before
    costs = cut_up(engine)
    before = engine.stats().evaluated_tokens
    by_parts = run(engine, *requests)
    assert texts(by_parts) == texts(together) == texts(alone)
    assert [r.tokens for r in by_parts] == [r.tokens for r in alone]
    assert engine.stats().evaluated_tokens - before == evaluated
    assert costs.decoded.count(1) > 30


def test_a_call_that_fails_ends_only_its_own_sequences(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(n_parallel=8)
    cut_up(engine)
    decode = Context.decode
    n_calls = [0]

    def fail_once(context: Context, batch: Batch) -> None:
        decode(context, batch)
        n_calls[0] += 1
        if n_calls[0] == 40:
            raise LlamaError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(Context, "decode", fail_once)
        requests = [request(chat(model, question), 30, sampling=LONG) for question in QUESTIONS]
        results = run(engine, *requests)
    assert sorted(str(r.finish_reason) for r in results) == ["error", "length", "length"]
    assert one(engine, request(chat(model, QUESTIONS[1]), 60)).text.endswith("Paris.")


@pytest.mark.slow
def test_no_cells_for_a_later_call_plan_it_anew(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(n_parallel=8)
    requests = [request(chat(model, question), 60) for question in QUESTIONS]
    alone = [one(engine, each) for each in requests]
    costs = cut_up(engine)
    decode = Context.decode
    n_calls = [0]

    def find_no_cells(context: Context, batch: Batch) -> None:
        n_calls[0] += 1
        if n_calls[0] == 40:
            raise KVCacheFullError("no KV cells")
        decode(context, batch)

    monkeypatch.setattr(Context, "decode", find_no_cells)
    assert texts(run(engine, *requests)) == texts(alone)
    assert costs.decoded.count(1) > 30
