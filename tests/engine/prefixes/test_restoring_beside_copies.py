"""Prompts that come back from memory in the step in which others are copied."""

from __future__ import annotations

import asyncio

import pytest

from shared.engine.llama.model import Model
from shared.engine.prefixes.cache import PrefixOptions
from tests.engine.conftest import SHARE, EngineFactory, collect
from tests.engine.prefixes.prompts import MODEL, answer, asked, assert_alike, prompt


@pytest.mark.parametrize("make_engine", [False], ids=["shares"], indirect=True)
def test_what_comes_back_is_not_what_is_copied(make_engine: EngineFactory, model: Model) -> None:
    """llama.cpp copies a share of cells with the next decode, as these are then."""
    source = prompt(model, 300, "something else")
    beginning = [*source[:200], *prompt(model, 30, "another end")]
    long = prompt(model, 600)
    options = PrefixOptions(model=MODEL, memory=2**26)
    engine = make_engine(n_ctx=2 * SHARE, n_parallel=2, prefixes=options)
    alone = [answer(engine, long), answer(engine, beginning)]
    for each in (prompt(model, 400, "a third thing"), source, prompt(model, 500, "a fourth")):
        answer(engine, each)

    together = asyncio.run(collect(engine, asked(beginning), asked(long)))

    assert together[0].cost.cached_tokens >= 200
    for found, expected in zip(together, reversed(alone), strict=True):
        assert_alike(found, expected)
