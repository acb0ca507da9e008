"""Speculative decoding on llama.cpp's own KV caches of every type: rejected tokens leave nothing.

Logits differ in their last bits with the batch, and where keys and values are quantised a little
more. So what is compared besides likely texts is not exact: a cell too many, or one of a rejected
token, would be off by far more.
"""

from __future__ import annotations

import pytest

from shared.engine.llama.memory import CacheType
from shared.engine.llama.model import Model
from shared.engine.speculation.options import SpeculationOptions
from shared.engine.speculation.speculator import Speculator
from tests.engine.conftest import LONG, EngineFactory, chat, request, run
from tests.engine.speculation.speculation_cases import RandomDrafts, let_any_draft_pay

COUNTING = ["Count from 1 to 20", "Count from 5 to 30", "Count from 11 to 40"]
TYPES: list[tuple[CacheType, CacheType]] = [
    ("f16", "f16"),
    ("q8_0", "f16"),
    ("q8_0", "q8_0"),
    ("q5_1", "q5_0"),
    ("q4_0", "q4_0"),
    ("iq4_nl", "q4_1"),
    ("bf16", "bf16"),
    ("f32", "f32"),
]
TOLERANCE = 0.3
"""Of log probabilities; up to 0.03 was seen."""


@pytest.fixture(autouse=True)
def _any_draft_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    let_any_draft_pay(monkeypatch)


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize("source", ["draft model", "lookup", "random"])
@pytest.mark.parametrize(("keys", "values"), TYPES)
def test_drafts_leave_nothing_in_a_cache_of_any_type(
    make_engine: EngineFactory,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    keys: CacheType,
    values: CacheType,
    source: str,
) -> None:
    types = {"n_parallel": 3, "n_threads": 1, "cache_type_k": keys, "cache_type_v": values}
    prompts = [chat(model, question) for question in (*COUNTING, "Tell me a story")]
    asked = [
        request(prompt, return_tokens=True, top_logprobs=0, sampling=LONG) for prompt in prompts
    ]
    plain = make_engine(**types)
    expected = run(plain, *asked)

    if source == "random":
        words = model.tokenize("1, 2, 3, 4, 5", add_special=False)
        drafts = RandomDrafts(0, expected, words)
        monkeypatch.setattr(Speculator, "_draft", lambda _self, sequence: drafts.draft(sequence))
    has_draft_model = source == "draft model"
    options = SpeculationOptions(
        looks_up=not has_draft_model, n_max=6, has_draft_model=has_draft_model
    )
    draft_model = model if has_draft_model else None
    engine = make_engine(**types, speculation=options, draft_model=draft_model)
    found = run(engine, *asked)

    stats = engine.stats()
    assert stats.accepted_draft_tokens > 20
    if not has_draft_model:
        assert stats.draft_tokens > stats.accepted_draft_tokens
    counted = [(each.text, each.tokens) for each in found[: len(COUNTING)]]
    assert counted == [(each.text, each.tokens) for each in expected[: len(COUNTING)]]
    scored = run(
        plain,
        *(
            request([*prompt, *each.tokens], 0, top_logprobs=0, prompt_logprobs=True)
            for prompt, each in zip(prompts, found, strict=True)
        ),
    )
    for each, whole in zip(found, scored, strict=True):
        n_tokens = len(each.tokens)
        alone = [known.sampled.logprob for known in whole.prompt_logprobs[-n_tokens:] if known]
        with_drafts = [known.sampled.logprob for known in each.logprobs]
        assert with_drafts == pytest.approx(alone, abs=TOLERANCE)
