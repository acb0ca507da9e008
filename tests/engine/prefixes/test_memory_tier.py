"""What leaves the KV cells goes to memory and comes back, as if it had been evaluated."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from shared.engine.engine import Engine
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.grammar import grammar
from shared.engine.llama.model import Model
from shared.engine.prefixes.cache import PrefixOptions
from shared.engine.prefixes.memory import MemoryTier
from tests.engine.conftest import EngineFactory, Result, collect, one, run
from tests.engine.prefixes.prompts import (
    MODEL,
    SMALL,
    answer,
    asked,
    assert_alike,
    cache_of,
    engine_of,
    prompt,
)

LARGE = 2**26


def push_out(engine: Engine, model: Model) -> None:
    """Have an unrelated prompt take the KV cells of the last one."""
    answer(engine, prompt(model, 900, "something else"))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("length", [255, 256, 257, 300, 511, 512, 513, 800])
def test_a_prompt_comes_back(make_engine: EngineFactory, model: Model, length: int) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    evaluated = answer(engine, prompt(model, length))
    push_out(engine, model)

    restored = answer(engine, prompt(model, length))

    # In whole blocks; the last token is evaluated in any case.
    assert restored.cost.restored_tokens == min(length // 256 * 256, length - 1)
    assert restored.cost.cached_tokens >= restored.cost.restored_tokens
    assert evaluated.cost.restored_tokens == 0
    assert_alike(restored, evaluated)
    assert engine.stats().prefix_memory_tokens == restored.cost.restored_tokens


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    "types",
    [
        {"flash_attn": True},
        {"flash_attn": False, "cache_type_k": "q8_0"},
        {"cache_type_k": "q8_0", "cache_type_v": "q8_0"},
        {"cache_type_k": "q4_0", "cache_type_v": "q4_0"},
        {"cache_type_k": "f32", "cache_type_v": "f32"},
    ],
    ids=str,
)
def test_of_all_cache_types(
    make_engine: EngineFactory, model: Model, types: dict[str, Any]
) -> None:
    options = PrefixOptions(model=MODEL, memory=LARGE)
    engine = make_engine(n_ctx=SMALL, n_parallel=1, prefixes=options, **types)
    evaluated = answer(engine, prompt(model, 600))
    push_out(engine, model)

    restored = answer(engine, prompt(model, 600))

    assert restored.cost.restored_tokens == 512
    assert_alike(restored, evaluated)


@pytest.mark.slow
def test_another_end_of_a_prompt_has_its_beginning(
    make_engine: EngineFactory, model: Model
) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    begun = prompt(model, 520)
    other = [*begun, *prompt(model, 100, "another end")]
    answer(engine, begun)
    push_out(engine, model)

    restored = answer(engine, other)

    assert restored.cost.restored_tokens == 512
    assert_alike(restored, answer(engine_of(make_engine, memory=0), other))


@pytest.mark.slow
def test_several_choices_share_it(make_engine: EngineFactory, model: Model) -> None:
    options = PrefixOptions(model=MODEL, memory=LARGE)
    engine = make_engine(n_ctx=SMALL * 3, n_parallel=3, prefixes=options)
    long = prompt(model, 600)
    first = run(engine, asked(long, n=3))
    for about in ("one", "two", "three", "four", "five"):
        answer(engine, prompt(model, 700, about))

    again = run(engine, asked(long, n=3))

    assert again[0].cost.restored_tokens == 512
    assert min(result.cost.cached_tokens for result in again) >= 512
    for restored, evaluated in zip(again, first, strict=True):
        assert_alike(restored, evaluated)


def test_a_constraint_holds_behind_it(make_engine: EngineFactory, model: Model) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    compiler = ConstraintCompiler(model)
    digits = compiler.compile(grammar("regex", "[0-9]{6}"))
    long = prompt(model, 600)
    evaluated = answer(engine, long, constraint=digits)
    push_out(engine, model)

    restored = answer(engine, long, constraint=digits)

    assert restored.cost.restored_tokens == 512
    assert restored.text == evaluated.text
    assert len(restored.text) == 6
    assert restored.text.isdigit()


@pytest.mark.slow
def test_others_have_nothing_of_it(make_engine: EngineFactory, model: Model) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    long = prompt(model, 600)

    def ask(tenant: str, salt: str = "") -> Result:
        request = asked(long, cache_salt=salt)
        result = asyncio.run(collect(engine, request, tenant=tenant))[0]
        push_out(engine, model)
        return result

    assert ask("one").cost.cached_tokens < 20
    assert ask("two").cost.cached_tokens < 20
    assert ask("one", "a key").cost.cached_tokens < 20
    assert ask("onea key").cost.cached_tokens < 20
    assert ask("one").cost.restored_tokens == 512


def test_without_cache_prompt_it_is_evaluated(make_engine: EngineFactory, model: Model) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    answer(engine, prompt(model, 600))
    push_out(engine, model)

    assert answer(engine, prompt(model, 600), cache_prompt=False).cost.cached_tokens == 0


@pytest.mark.slow
def test_a_pool_without_room_evaluates(model: Model, make_engine: EngineFactory) -> None:
    """A running sequence has the cells: the other one waits, is preempted, and still gets on."""
    options = PrefixOptions(model=MODEL, memory=LARGE)
    engine = make_engine(n_ctx=SMALL, n_parallel=2, kv_unified=True, prefixes=options)
    long = prompt(model, 600)
    evaluated = answer(engine, long)
    push_out(engine, model)

    results = run(engine, asked(prompt(model, 500, "the one before")), asked(long))

    assert_alike(results[1], evaluated)


def test_a_state_that_does_not_fit_is_evaluated(
    make_engine: EngineFactory, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    evaluated = answer(engine, prompt(model, 600))
    push_out(engine, model)
    monkeypatch.setattr(engine._context, "write_state", lambda *_: False)

    again = answer(engine, prompt(model, 600))

    assert again.cost.cached_tokens < 20
    assert_alike(again, evaluated)


def test_what_is_cancelled_while_it_is_looked_up_ends(
    make_engine: EngineFactory, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    answer(engine, prompt(model, 600))
    push_out(engine, model)

    async def leave() -> None:
        generation = engine.submit(asked(prompt(model, 600)))
        generation.cancel()

    asyncio.run(leave())

    assert one(engine, asked(prompt(model, 20))).tokens
    assert engine.stats().sequences_waiting == 0


def test_the_tier_keeps_to_its_size_and_beginnings_longest() -> None:
    tier = MemoryTier(10)
    block = np.zeros(4, dtype=np.uint8)
    tier.put("one", [b"a", b"b", b"c"], [block] * 3)
    assert len(tier.get([b"a", b"b", b"c"])) == 2  # the third does not fit
    assert tier.n_bytes == 8

    tier.put("two", [b"x"], [block])

    assert len(tier.get([b"a", b"b"])) == 1
    assert len(tier.get([b"x"])) == 1
    assert tier.missing([b"a", b"b", b"x"]) == [1]
    tier.forget("one")
    assert (len(tier.get([b"a"])), len(tier.get([b"x"])), tier.n_bytes) == (0, 1, 4)
    tier.clear()
    assert tier.n_bytes == 0


def test_models_whose_state_cannot_be_cut_say_so(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(model, "n_swa", 128)

    engine = make_engine(n_ctx=SMALL, n_parallel=1, prefixes=PrefixOptions(model=MODEL, memory=9))

    assert "no state that can be cut" in caplog.text
    assert one(engine, asked(prompt(model, 300))).tokens


@pytest.mark.slow
def test_what_is_forgotten_of_a_tenant_is_nowhere_and_others_keep_theirs(
    make_engine: EngineFactory, model: Model
) -> None:
    engine = engine_of(make_engine, memory=LARGE)
    prompts = [prompt(model, 600, about) for about in ("a lighthouse", "the sea")]

    def ask(tenant: str, tokens: list[int]) -> int:
        return asyncio.run(collect(engine, asked(tokens), tenant=tenant))[0].cost.cached_tokens

    for tenant in ("one", "two"):
        for tokens in prompts:  # the second one is left in the KV cells
            assert ask(tenant, tokens) < 20
        cache_of(engine).wait()
    engine.forget("two")
    assert ask("two", prompts[1]) < 20
    engine.forget("two")
    assert ask("two", prompts[0]) < 20
    cache_of(engine).wait()

    assert ask("one", prompts[0]) >= 512
