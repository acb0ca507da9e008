"""What llama.cpp's own sampling fields do to the text."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from shared.engine.llama.model import Model
from tests.api.openai_types import text_completion
from tests.api.texts import chat_text, token
from tests.server import Server


class TestDRY:
    """DRY ("don't repeat yourself") penalises what would continue a repetition."""

    def letters(self, server: Server, vocabulary: Model, **fields: Any) -> str:
        """A greedy text of three letters."""
        forced = {str(token(vocabulary, letter)): 100 for letter in "abc"}
        fields = {"logit_bias": forced, "temperature": 0, "max_tokens": 100, **fields}
        response = server.text(ignore_eos=True, **fields).raise_for_status()
        return text_completion(response.content).choices[0].text

    @pytest.mark.slow
    def test_a_loop_is_left_after_the_allowed_length(
        self, server: Server, vocabulary: Model
    ) -> None:
        loop = self.letters(server, vocabulary)
        assert longest_repetition(loop) >= 50
        for allowed in (1, 4, 8):
            fields = {"dry_multiplier": 20, "dry_base": 2, "dry_allowed_length": allowed}
            text = self.letters(server, vocabulary, **fields)
            assert allowed <= longest_repetition(text) <= allowed + 6

    def test_it_only_looks_back_so_far(self, server: Server, vocabulary: Model) -> None:
        fields = {"dry_multiplier": 20, "dry_penalty_last_n": 2}
        assert self.letters(server, vocabulary, **fields) == self.letters(server, vocabulary)

    @pytest.mark.slow
    def test_a_text_of_breakers_is_free(self, server: Server, vocabulary: Model) -> None:
        fields = {"dry_multiplier": 20, "dry_sequence_breakers": ["a", "b", "c"]}
        assert self.letters(server, vocabulary, **fields) == self.letters(server, vocabulary)
        fields["dry_sequence_breakers"] = []
        assert self.letters(server, vocabulary, **fields) != self.letters(server, vocabulary)


def longest_repetition(text: str) -> int:
    """The length of the longest part of ``text`` that occurs in it twice."""
    return max(
        length
        for length in range(len(text))
        if any(text.find(text[i : i + length], i + 1) >= 0 for i in range(len(text) - length))
    )


class TestXTC:
    """XTC excludes the top choices, here one of two letters."""

    def firsts(self, server: Server, vocabulary: Model, **fields: Any) -> Counter[str]:
        """The first letters of many answers, where "a" is likelier than "b" by far."""
        bias = {str(token(vocabulary, "a")): 100, str(token(vocabulary, "b")): 50}
        fields = {"temperature": 0, "top_k": 2, "xtc_threshold": 0, "seed": 5, **fields}
        response = server.text(logit_bias=bias, n=100, max_tokens=1, **fields)
        choices = text_completion(response.raise_for_status().content).choices
        return Counter(choice.text for choice in choices)

    @pytest.mark.slow
    def test_the_top_choice_is_excluded_with_the_probability(
        self, server: Server, vocabulary: Model
    ) -> None:
        assert self.firsts(server, vocabulary, xtc_probability=0) == {"a": 100}
        assert self.firsts(server, vocabulary, xtc_probability=1) == {"b": 100}
        assert 15 <= self.firsts(server, vocabulary, xtc_probability=0.3)["b"] <= 45

    @pytest.mark.slow
    def test_it_does_so_at_any_temperature(self, server: Server, vocabulary: Model) -> None:
        hot = self.firsts(server, vocabulary, xtc_probability=1, temperature=2)
        assert hot == {"b": 100}

    @pytest.mark.slow
    def test_only_likely_tokens_are_excluded(self, server: Server, vocabulary: Model) -> None:
        for threshold in (0.1, 0.6):
            fields = {"xtc_probability": 1, "xtc_threshold": threshold}
            assert self.firsts(server, vocabulary, **fields) == {"a": 100}


class TestMirostat:
    """Mirostat keeps the surprise at a target."""

    def surprise(self, server: Server, version: int, **fields: float) -> float:
        """Bits per token of eight long texts: one alone may be far from the target."""
        response = server.text(
            temperature=2, n=8, seed=1, logprobs=0, ignore_eos=True, max_tokens=120,
            mirostat=version, **fields,
        )  # fmt: skip
        logprobs = [
            logprob
            for choice in text_completion(response.raise_for_status().content).choices
            for logprob in (choice.logprobs and choice.logprobs.token_logprobs) or []
        ]
        assert len(logprobs) == 8 * 120
        return -sum(logprobs) / len(logprobs) / math.log(2)

    @pytest.mark.slow
    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("version", [1, 2])
    def test_the_text_is_as_surprising_as_asked_for(self, server: Server, version: int) -> None:
        low, middle, high = (
            self.surprise(server, version, mirostat_tau=tau) for tau in (0.5, 3, 6)
        )
        # The model's own surprise, at temperature 1, is not quite that at temperature 2. The
        # likeliest token of a step may differ between CPUs, and from there on the text.
        assert low + 1 < middle < high - 1

    def test_the_learning_rate_matters(self, server: Server) -> None:
        fields = {"mirostat": 2, "mirostat_tau": 1, "seed": 3, "temperature": 2}
        slow = chat_text(server, **fields, mirostat_eta=0)
        assert chat_text(server, **fields, mirostat_eta=1) != slow
