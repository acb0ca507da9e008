"""Lazy grammars: free text until something begins that has to follow them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.constraint import Constraint
from shared.engine.grammar.grammar import GrammarKind, grammar
from shared.engine.llama.model import Model
from shared.engine.types import SamplingParams
from tests.engine.conftest import GREEDY, EngineFactory, chat, one, request, run


@pytest.fixture(scope="module")
def compiler(model: Model) -> ConstraintCompiler:
    return ConstraintCompiler(model)


def compiled(compiler: ConstraintCompiler, kind: GrammarKind, source: Any) -> Constraint:
    return compiler.compile(grammar(kind, source))


LAZY = 'start: TEXT | announced NUMBER\nTEXT: /(.|\\n)*/\nannounced[lazy]: TEXT " is"\nNUMBER: / [0-9]{3}/'


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        SamplingParams(seed=3),
        SamplingParams(seed=3, top_p=0.9),
        SamplingParams(seed=3, mirostat=2),
    ],
    ids=["greedy", "whole", "top_p", "mirostat"],
)
def test_lazy_grammars_leave_free_text_alone(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler, sampling: SamplingParams
) -> None:
    """Tokens, their log probabilities and the random numbers that draw them."""
    constraint = compiled(compiler, "lark", LAZY.replace(" is", "[CALL]")).lazily(model.piece)
    for question in ("Tell me a story", "Say hello in Chinese", "Hi"):
        free = request(chat(model, question), 40, sampling=sampling, top_logprobs=2)
        alone = one(make_engine(), free)  # engines of their own: equal cells, equal rounding
        result = one(make_engine(), replace(free, constraint=constraint))
        assert (result.text, result.finish_reason) == (alone.text, alone.finish_reason)
        assert result.logprobs == alone.logprobs


def test_lazy_grammars_are_followed_once_they_have_begun(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    constraint = compiled(compiler, "lark", LAZY).lazily(model.piece)

    results = run(
        make_engine(),
        *(
            request(
                chat(model, "What is the capital of France?"),
                constraint=constraint,
                sampling=sampling,
            )
            for sampling in (GREEDY, replace(GREEDY, ignore_eos=True), SamplingParams(seed=1))
        ),
    )

    for result in results:
        assert re.fullmatch(r"The capital of France is \d{3}", result.text)
        assert result.finish_reason == "stop"


def test_lazy_grammars_that_fail_are_followed_no_further(
    make_engine: EngineFactory, model: Model
) -> None:
    compiler = ConstraintCompiler(model, allowance_s=-1)  # any use takes too long
    constraint = compiled(compiler, "lark", LAZY).lazily(model.piece)
    prompt = chat(model, "What is the capital of France?")

    result = one(make_engine(), request(prompt, constraint=constraint, sampling=GREEDY))

    assert (result.text, result.finish_reason) == ("The capital of France is Paris.", "stop")
    assert result.error is None
