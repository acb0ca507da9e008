"""Penalties over sampled tokens: OpenAI's, llama.cpp's repeat penalty, DRY."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import pytest

from shared.engine.llama.model import Model
from shared.engine.sampling.logit_bias import LogitBias
from shared.engine.sampling.sampler import Sampler
from shared.engine.types import SamplingParams
from tests.engine.sampling.distributions import (
    DEFAULT,
    LOGITS,
    applied,
    distance,
    draw,
    generate,
    random_logits,
    softmax,
)


def after(params: SamplingParams, tokens: Sequence[int], **kwargs: Any) -> Sampler:
    """A sequence that has sampled ``tokens``."""
    sampler = Sampler(params, **kwargs)
    for token in tokens:
        sampler.accept(token)
    return sampler


def changes(sampler: Sampler, n_vocab: int) -> dict[int, float]:
    """By how much the logits of tokens fall, where they do."""
    row = np.zeros(n_vocab, dtype=np.float32)
    sampler.adjust(row)
    return {int(token): float(-row[token]) for token in np.flatnonzero(row)}


@pytest.mark.parametrize("frequency", [-2, 0, 0.3, 2])
@pytest.mark.parametrize("presence", [-2, 0, 0.7, 2])
def test_logits_fall_by_openais_formula(frequency: float, presence: float) -> None:
    logits = random_logits(300)
    tokens = np.random.default_rng(5).zipf(1.5, 200) % 300
    params = replace(DEFAULT, frequency_penalty=frequency, presence_penalty=presence)

    row = logits.copy()
    after(params, tokens.tolist()).adjust(row)

    counts = np.bincount(tokens, minlength=300)
    expected = logits - counts * frequency - (counts > 0) * presence
    np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)
    assert counts.max() > 20


@pytest.mark.slow
def test_penalties_change_the_distribution_from_token_to_token() -> None:
    params = replace(DEFAULT, frequency_penalty=1, presence_penalty=0.5)
    sequences = [generate(LOGITS, Sampler(replace(params, seed=seed)), 2) for seed in range(6000)]

    second = Counter(b for a, b in sequences if a == 0)

    expected = softmax(LOGITS - np.array([1.5, 0, 0, 0, 0, 0]))
    assert distance(second, expected) < 0.03


def test_the_first_token_is_not_penalised() -> None:
    params = replace(DEFAULT, frequency_penalty=2, repeat_penalty=2, dry_multiplier=5)

    assert draw(LOGITS, params, 300) == draw(LOGITS, DEFAULT, 300)


@pytest.mark.parametrize("penalty", [0.5, 1.3])
@pytest.mark.parametrize("last_n", [-1, 0, 1, 10])
def test_repeat_penalty_scales_the_logits_of_the_latest_tokens(penalty: float, last_n: int) -> None:
    logits = random_logits(50)
    tokens = np.random.default_rng(6).integers(0, 50, 30).tolist()

    row = logits.copy()
    after(replace(DEFAULT, repeat_penalty=penalty, repeat_last_n=last_n), tokens).adjust(row)

    latest = {-1: tokens, 0: []}.get(last_n, tokens[-last_n:])
    seen = np.isin(np.arange(50), latest)
    scaled = np.where(logits > 0, logits / penalty, logits * penalty)
    np.testing.assert_allclose(row, np.where(seen, scaled, logits), rtol=1e-6)


def test_repeat_penalty_comes_before_the_subtractions() -> None:
    params = replace(DEFAULT, repeat_penalty=2, frequency_penalty=1, logit_bias=LogitBias({0: 4}))

    row = LOGITS.copy()
    after(params, [0, 0]).adjust(row)

    np.testing.assert_allclose(row, [(2.0 + 4) / 2 - 2, *LOGITS[1:]])


WORDS = [b"a", b"b", b"c", b"d", b".", b"x\n", b"<", b"/s", b">", b"s>"]
"""A vocabulary for hand-made repetitions; tokens are the indices."""
A, B, C, D, DOT, BREAK, LESS, SLASH, MORE, END = range(10)
DRY = replace(DEFAULT, dry_multiplier=1, dry_base=2, dry_sequence_breakers=())


def dry(tokens: Sequence[int], **fields: Any) -> dict[int, float]:
    """What DRY subtracts after ``tokens`` of the hand-made vocabulary."""
    sampler = after(replace(DRY, **fields), tokens, piece=WORDS.__getitem__)
    return changes(sampler, len(WORDS))


class TestDRY:
    """DRY penalises the token that would continue a repetition, the longer the more."""

    @pytest.mark.parametrize(
        ("tokens", "penalised"),
        [
            ([A, B, C, D], {}),
            ([A, B, C, A], {}),
            ([A, B, C, A, B], {C: 1}),
            ([A, B, C, D, A, B, C], {D: 2}),
            ([D, A, B, C, D, A, B, C], {D: 4}),
            ([A, B, C, B, D, A, B], {C: 1}),
            ([A, B, C, A, B, D, A, B], {C: 1, D: 1}),
            ([D, A, B, C, A, B, D, A, B], {C: 2, D: 1}),
            ([A] * 6, {A: 8}),
        ],
    )
    def test_repetitions_longer_than_allowed_are_penalised(
        self, tokens: list[int], penalised: dict[int, float]
    ) -> None:
        assert dry(tokens) == penalised

    def test_multiplier_base_and_allowed_length(self) -> None:
        tokens = [A, B, C, D, A, B, C]
        assert dry(tokens, dry_multiplier=0.5, dry_base=3) == {D: 1.5}
        assert dry(tokens, dry_allowed_length=1) == {D: 4}
        assert dry(tokens, dry_allowed_length=3) == {D: 1}
        assert dry(tokens, dry_allowed_length=4) == {}
        assert dry(tokens, dry_allowed_length=0) == {A: 1, B: 1, C: 1, D: 8}
        assert dry(tokens, dry_multiplier=0) == {}

    def test_only_the_latest_tokens_are_looked_at(self) -> None:
        tokens = [A, B, C, D, A, B, C]
        assert dry(tokens, dry_penalty_last_n=7) == {D: 2}
        assert dry(tokens, dry_penalty_last_n=6) == {D: 1}
        assert dry(tokens, dry_penalty_last_n=5) == {}
        assert dry(tokens, dry_penalty_last_n=0) == {}

    def test_repetitions_are_not_followed_across_a_breaker(self) -> None:
        tokens = [A, B, BREAK, C, D, A, B, BREAK, C]
        assert dry(tokens) == {D: 4}
        assert dry(tokens, dry_sequence_breakers=("\n",)) == {}
        assert dry([*tokens, D], dry_sequence_breakers=("\n",)) == {A: 1}

    def test_a_breaker_itself_is_not_penalised(self) -> None:
        tokens = [A, B, BREAK, C, A, B]
        assert dry(tokens) == {BREAK: 1}
        assert dry(tokens, dry_sequence_breakers=("\n",)) == {}

    def test_a_breaker_may_be_spelt_by_several_tokens(self) -> None:
        tokens = [A, LESS, SLASH, MORE, B, C, D, LESS, END, B, C]
        assert dry(tokens, dry_allowed_length=1) == {D: 2}
        assert dry(tokens, dry_allowed_length=1, dry_sequence_breakers=("b", "zz")) == {D: 1}
        tokens = [LESS, SLASH, MORE, A, B, LESS, SLASH, MORE, A]
        assert dry(tokens) == {B: 4}
        assert dry(tokens, dry_sequence_breakers=("</s>",)) == {}

    @pytest.mark.slow
    def test_very_long_repetitions_leave_finite_logits(self) -> None:
        (penalty,) = dry([A] * 3000, dry_base=1000).values()
        assert 1e29 < penalty < 1e31

    def test_a_loop_is_left(self) -> None:
        """Each token's favourite is the next one, round and round."""
        logits = np.full((4, 4), -2.0, dtype=np.float32)
        logits[np.arange(4), (np.arange(4) + 1) % 4] = 2

        def walk(params: SamplingParams) -> list[int]:
            sampler, tokens = Sampler(params), [0]
            sampler.accept(0)
            for _ in range(40):
                row = logits[tokens[-1]].copy()
                sampler.adjust(row)
                tokens.append(int(row.argmax()))
                sampler.accept(tokens[-1])
            return tokens

        assert walk(replace(DRY, dry_multiplier=0)) == [0, 1, 2, 3] * 10 + [0]
        assert walk(DRY)[:9] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
        assert walk(DRY) != walk(replace(DRY, dry_multiplier=0))

    @pytest.mark.sweep(12)
    @pytest.mark.parametrize("allowed_length", [0, 1, 2, 5])
    @pytest.mark.parametrize("last_n", [7, 40, 400])
    @pytest.mark.parametrize("breakers", [(), ("\n", ":", '"', "*"), ("e",)])
    def test_penalties_are_llama_cpps(
        self, model: Model, allowed_length: int, last_n: int, breakers: tuple[str, ...]
    ) -> None:
        params = replace(
            DRY,
            dry_multiplier=0.8,
            dry_base=1.75,
            dry_allowed_length=allowed_length,
            dry_penalty_last_n=last_n,
            dry_sequence_breakers=breakers,
        )
        tokens = _repetitive_text(model)

        sampler = Sampler(params, piece=lambda token: model.render(token, special=False))
        reference = _ReferenceDry(model, params)
        n_penalised = 0
        for token in tokens:
            ours = changes(sampler, model.n_vocab)
            assert ours == pytest.approx(reference.changes(), rel=1e-4)
            n_penalised += len(ours)
            sampler.accept(token)
            reference.accept(token)
        assert n_penalised


def _repetitive_text(model: Model) -> list[int]:
    """Tokens of phrases in random order, with breakers among them."""
    rng = np.random.default_rng(8)
    phrases = ["the cat: sat", " on the mat", "\nand", ' "the cat"', " sat sat sat", " on *the* "]
    text = "".join(phrases[i] for i in rng.integers(0, len(phrases), 60))
    return model.tokenize(text, add_special=False)


class _ReferenceDry:
    """llama.cpp's DRY sampler."""

    def __init__(self, model: Model, params: SamplingParams) -> None:
        breakers = [breaker.encode() for breaker in params.dry_sequence_breakers]
        self._n_vocab = model.n_vocab
        self._sampler: Any = lib.llama_sampler_init_dry(
            model.vocab,
            params.dry_multiplier,
            params.dry_base,
            params.dry_allowed_length,
            params.dry_penalty_last_n,
            (ctypes.c_char_p * len(breakers))(*breakers),
            len(breakers),
        )

    def accept(self, token: int) -> None:
        lib.llama_sampler_accept(self._sampler, token)

    def changes(self) -> dict[int, float]:
        """By how much the logits of tokens fall, where they do."""
        ids, logits, _ = applied(self._sampler, np.zeros(self._n_vocab, dtype=np.float32))
        return {int(ids[i]): float(-logits[i]) for i in np.flatnonzero(logits)}

    def __del__(self) -> None:
        lib.llama_sampler_free(self._sampler)
