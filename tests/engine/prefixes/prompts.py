"""Prompts of any length, and engines whose KV cells hold one of them."""

from __future__ import annotations

from typing import Any

from shared.engine.engine import Engine
from shared.engine.llama.model import Model
from shared.engine.prefixes.cache import PrefixCache, PrefixOptions
from shared.engine.types import GenerationRequest
from tests.engine.conftest import LONG, EngineFactory, Result, one, request

MODEL = b"a model"
SMALL = 1024
"""Cells: enough for one of the prompts here, and not for two."""


def prompt(model: Model, length: int, about: str = "a lighthouse") -> list[int]:
    """So many tokens that differ from others' from the first one on."""
    text = f"{about} is what this is about, {about}. "
    return (model.tokenize(text) * (length // 8 + 1))[:length]


def engine_of(make_engine: EngineFactory, **options: Any) -> Engine:
    """One with a prefix cache of these options; a prompt pushes out the one before."""
    options.setdefault("model", MODEL)
    return make_engine(n_ctx=SMALL, n_parallel=1, prefixes=PrefixOptions(**options))


def cache_of(engine: Engine) -> PrefixCache:
    """The engine's prefix cache."""
    assert engine._prefixes is not None
    return engine._prefixes.cache


def answer(engine: Engine, tokens: list[int], **fields: Any) -> Result:
    """Eight tokens, all that is to know of them included; then nothing is under way."""
    found = one(engine, asked(tokens, **fields))
    cache_of(engine).wait()
    return found


def asked(tokens: list[int], **fields: Any) -> GenerationRequest:
    fields = {"sampling": LONG, "top_logprobs": 3, "return_tokens": True, **fields}
    return request(tokens, 8, **fields)


def assert_alike(restored: Result, evaluated: Result) -> None:
    """The same tokens; log probabilities as far apart as those of two shapes of batches."""
    assert restored.tokens == evaluated.tokens
    assert restored.text == evaluated.text
    for one_, other in zip(restored.logprobs, evaluated.logprobs, strict=True):
        assert abs(one_.sampled.logprob - other.sampled.logprob) < 0.05
