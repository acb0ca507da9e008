"""Short prompts in one call, padded to one length where that takes less time."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from shared.engine.batching.prompt_costs import PromptCosts
from shared.engine.batching.prompt_groups import prompt_groups
from shared.engine.engine import Engine
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.context import Batch, Context
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.sequence import running_entry
from shared.engine.types import GenerationRequest
from tests.engine.cells import Cells
from tests.engine.conftest import EngineFactory, chat, collect, one, request
from tests.engine.test_batching import QUESTIONS
from tests.sweeps import examples


def grouped(
    lengths: dict[int, int],
    call_tokens: float,
    *,
    n_most: int = 512,
    n_cached: int = 0,
    can_cut: bool = True,
) -> list[list[int]]:
    """The sequence ids of each call, by the lengths of chunks behind ``n_cached`` tokens."""
    kv = KVCache(Cells(16 * 64, 16, is_unified=False), 16, shares_prefixes=can_cut)
    chunks: list[Any] = [
        (SimpleNamespace(entry=KVEntry(seq_id, n_evaluated=n_cached)), n_tokens)
        for seq_id, n_tokens in lengths.items()
    ]
    groups = prompt_groups(chunks, kv, call_tokens=call_tokens, n_most=n_most)
    return [[running_entry(sequence).seq_id for sequence, _ in group] for group in groups]


@pytest.mark.parametrize(
    ("lengths", "call_tokens", "expected"),
    [
        ({3: 20}, 7, [[3]]),
        ({0: 20, 1: 20, 2: 20}, PromptCosts().call_tokens, [[0, 1, 2]]),
        ({0: 20, 1: 19, 2: 20}, PromptCosts().call_tokens, [[0], [1], [2]]),
        ({0: 20, 1: 20}, 0, [[0], [1]]),
        ({0: 20, 1: 16}, 3, [[0], [1]]),
        ({0: 20, 1: 16}, 7, [[0, 1]]),
        ({0: 20, 1: 5, 2: 19, 3: 21}, 7, [[0], [1], [2, 3]]),
        ({0: 20, 1: 5, 2: 19, 3: 21}, 500, [[0, 1, 2, 3]]),
        ({2: 20, 0: 20, 1: 20}, 7, [[0, 1, 2]]),
        ({0: 20, 1: 20, 3: 20, 4: 20}, 7, [[0, 1], [3, 4]]),
    ],
)
def test_prompts_share_a_call_where_it_takes_longer_than_their_padding(
    lengths: dict[int, int], call_tokens: float, expected: list[list[int]]
) -> None:
    assert grouped(lengths, call_tokens) == expected


def test_a_call_has_no_more_tokens_than_a_batch_can_hold() -> None:
    assert grouped(dict.fromkeys(range(6), 10), 500, n_most=39) == [[0, 1, 2], [3, 4, 5]]
    assert grouped({0: 10, 1: 30}, 500, n_most=59) == [[0], [1]]


def test_padding_stays_within_the_cells_of_a_sequence() -> None:
    assert grouped({0: 4, 1: 10}, 500, n_cached=54) == [[0, 1]]
    assert grouped({0: 4, 1: 10}, 500, n_cached=55) == [[0], [1]]


def test_a_memory_that_cant_be_cut_has_no_padding() -> None:
    assert grouped({0: 20, 1: 20, 2: 19}, 500, can_cut=False) == [[0, 1], [2]]


@pytest.mark.parametrize("seed", range(examples(20)))
def test_no_cut_into_calls_takes_less_time(seed: int) -> None:
    rng = random.Random(seed)
    lengths = {seq_id: rng.randrange(2, 34) for seq_id in range(8)}
    call_tokens = rng.choice([0.5, 3, 7, 30])

    def cost(groups: list[list[int]]) -> float:
        return sum(call_tokens + len(g) * max(lengths[i] for i in g) for g in groups)

    def cuts(n: int) -> list[list[list[int]]]:
        if not n:
            return [[]]
        return [[*rest, list(range(i, n))] for i in range(n) for rest in cuts(i)]

    assert cost(grouped(lengths, call_tokens)) == min(map(cost, cuts(8)))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tokens in each call."""
    sizes: list[int] = []
    decode = Context.decode

    def note(context: Context, batch: Batch) -> None:
        sizes.append(batch.size)
        decode(context, batch)

    monkeypatch.setattr(Context, "decode", note)
    monkeypatch.setattr("shared.engine.batching.prompt_groups._SHORT_SECONDS", 3600)
    monkeypatch.setattr("shared.engine.batching.prompt_groups._TOGETHER_SECONDS", 3600)
    return sizes


@pytest.fixture
def engine(make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Of shares, in which a call takes as long as many tokens, however long it is here."""
    monkeypatch.setattr(PromptCosts, "observe", lambda *_: None)
    engine = make_engine(kv_unified=False)
    engine._loop._evaluator.prompt_costs.call_tokens = 1000
    return engine


def questions(model: Model, n: int, **fields: Any) -> list[GenerationRequest]:
    return [request(chat(model, q), 8, cache_prompt=False, **fields) for q in QUESTIONS[:n]]


@pytest.mark.parametrize("make_engine", [False], ids=["shares"], indirect=True)
class TestPadding:
    def test_padded_prompts_give_what_they_give_alone(
        self, model: Model, engine: Engine, decoded: list[int]
    ) -> None:
        requests = questions(model, 8)
        alone = [one(engine, each) for each in requests]
        n_before = engine.stats().evaluated_tokens
        decoded.clear()

        together = asyncio.run(collect(engine, *requests))

        lengths = [len(each.prompt) for each in requests]
        assert len(set(lengths)) > 1
        assert decoded[0] == 8 * max(lengths)
        assert [each.text for each in together] == [each.text for each in alone]
        assert [each.cost.prompt_tokens for each in together] == lengths
        n_sampled = sum(each.cost.completion_tokens - 1 for each in together)
        assert engine.stats().evaluated_tokens - n_before == sum(lengths) + n_sampled

    def test_a_call_has_no_more_tokens_than_are_computed_at_once(
        self, model: Model, make_engine: EngineFactory, decoded: list[int]
    ) -> None:
        """llama.cpp would cut it, and each part takes as long as a call."""
        engine = make_engine(kv_unified=False, n_ubatch=64)
        engine._loop._evaluator.prompt_costs.call_tokens = 1000
        requests = questions(model, 8)
        alone = [one(engine, each) for each in requests]
        decoded.clear()

        together = asyncio.run(collect(engine, *requests))

        longest = max(len(each.prompt) for each in requests)
        assert decoded[0] > longest
        assert max(decoded) <= 64
        assert [each.text for each in together] == [each.text for each in alone]

    def test_a_padded_prompt_that_is_scored_has_its_own_log_probabilities(
        self, model: Model, engine: Engine, decoded: list[int]
    ) -> None:
        requests = questions(model, 3)
        scored = questions(model, 3, top_logprobs=2, prompt_logprobs=True)[2]
        alone = one(engine, scored)
        decoded.clear()

        *_, among = asyncio.run(collect(engine, *requests[:2], scored))

        assert decoded[0] == 3 * max(len(each.prompt) for each in requests)
        for each, expected in zip(
            among.prompt_logprobs[1:], alone.prompt_logprobs[1:], strict=True
        ):
            assert each is not None
            assert expected is not None
            assert each.sampled.logprob == pytest.approx(expected.sampled.logprob, abs=0.02)

    def test_padded_prompts_can_be_continued_from_the_cache(
        self, model: Model, engine: Engine, decoded: list[int]
    ) -> None:
        """Nothing of the padding is among what is shared later."""
        requests = [request(chat(model, question), 1) for question in QUESTIONS[:8]]
        one(engine, request([1, 2, 3], 1))  # from then on it is known how long prompts take
        decoded.clear()
        asyncio.run(collect(engine, *requests))
        assert decoded[0] == 8 * max(len(each.prompt) for each in requests)

        again = [one(engine, replace(each, max_tokens=8)) for each in requests]
        alone = [one(engine, each) for each in questions(model, 8)]

        assert [each.cost.cached_tokens for each in again] == [len(r.prompt) - 1 for r in requests]
        assert [each.text for each in again] == [each.text for each in alone]

    def test_a_call_that_fails_ends_those_in_it_and_leaves_no_padding(
        self, model: Model, engine: Engine, decoded: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requests = questions(model, 4)
        expected = one(engine, requests[0])
        decode = Context.decode
        n_decodes = 0

        def fail_after_the_first(context: Context, batch: Batch) -> None:
            """As llama.cpp does where one of a batch's parts fails: cells stay."""
            nonlocal n_decodes
            decode(context, batch)
            n_decodes += 1
            if n_decodes == 1:
                raise LlamaError("injected")

        monkeypatch.setattr(Context, "decode", fail_after_the_first)
        failed = asyncio.run(collect(engine, *requests))

        assert [each.finish_reason for each in failed] == ["error"] * 4
        assert one(engine, requests[0]).text == expected.text
